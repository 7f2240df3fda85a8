package tcp

// State is a connection's state (RFC 9293 section 3.3.2). There is no LISTEN: a
// Listener is not a connection.
type State uint8

// The states.
const (
	Closed State = iota
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
)

var stateNames = [...]string{
	"CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
	"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
}

// String returns the name that RFC 9293 gives the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// synchronized reports whether both ends know each other's sequence numbers
// (RFC 9293 section 3.5.2).
func (s State) synchronized() bool { return s >= Established }

// finReceived reports whether the peer's FIN, and with it all its data, has
// been taken in.
func (s State) finReceived() bool {
	return s == CloseWait || s == Closing || s == LastAck || s == TimeWait
}
