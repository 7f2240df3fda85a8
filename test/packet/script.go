package packet

import (
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// A Script is what Parse made of a file.
type Script struct {
	Name   string // for errors: the file's path
	Config Config
	Events []Event
}

// Config is what the statements at a script's head say.
type Config struct {
	Families []int // IP versions that it runs on: 4, 6 or both
	MTU      int   // of the wire, in bytes

	Sysctls []Setting // of the kernel's namespace, by the path below /proc/sys
	Zctap   Setup     // of our stack
}

// A Setting is a name and a value.
type Setting struct{ Name, Value string }

// Setup is the part of our stack's configuration that a script may set; 0 stands
// for the stack's own default.
type Setup struct {
	TimeWait, UserTimeout time.Duration
	Buffers               int // of the region
	Window, SendSpace     int // bytes
	Cookies               bool
	ECN                   bool
	Congestion            string // its algorithm's name
}

// Where says which targets an event is for.
type Where uint8

// Both targets, or one.
const (
	Everywhere Where = iota
	OnLinux
	OnZctap
)

var whereNames = [...]string{"everywhere", Linux, Zctap}

// An Event is one line that does something.
type Event struct {
	Line  int // in the file, from 1
	Where Where
	When  When
	// One of them:
	Packet *Packet
	Call   *Call
	Quiet  time.Duration // nothing may come for so long
	Flow   *FlowChange
}

// When is an event's time, relative to the event before: between Lo and Hi for a
// packet that is expected, Lo for all else. Exact: no tolerance was asked for, and
// Hi leaves what a timer may be late.
type When struct {
	Lo, Hi time.Duration
	Any    bool // whenever it comes, within patience
}

// FlowChange makes another flow the one that the packets are of, or gives it new
// sequence numbers.
type FlowChange struct {
	Number int // of the flow; 0: the same
	ISN    *Value
}

// A Call is a call of the socket API.
type Call struct {
	Verb   string
	Socket string // that it is made on
	Made   string // accept: the socket that it makes
	Option string // set, state: which
	To     string // send: where a datagram goes, by the name of an address; "": to the peer
	N      Value  // send, recv, listen: bytes, or connections
	Result string // a word, or a number in decimal; "ok" if there is none to tell
}

// A Packet is one to inject, or a pattern for one that is expected.
type Packet struct {
	Expected bool
	Proto    Proto
	Len      Value // UDP, echo: bytes of payload
	ECN      *Value
	DSCP     *Value // expected
	Cut      []cut  // into fragments, as they are injected; nil: whole
	Message  string // ICMP: which; see icmpMessages

	// TCP.
	Flags       wire.Flags
	Seq, End    Value
	Ack         Value // if Flags has ACK
	Win         Value
	Urgent      *Value
	Options     []Option
	AnyOptions  bool      // those that are not named may be there, too
	Garbage     *[2]int64 // these numbers' payload is not what the stream has there
	BadChecksum bool
	Craft       *craft // nil: a proper packet
}

// Proto is what a packet is.
type Proto uint8

// Kinds of packets.
const (
	TCP Proto = iota
	UDP
	Ping
	Pong
	ICMP
)

// An Option is one TCP option. MSS and window scale have V[0], timestamps V[0] and
// V[1], SACK pairs of edges. Raw is bytes as they are to be in the header.
type Option struct {
	Kind string
	V    []Value
	Raw  []byte
}

// A Value is a number: Lo to Hi, which differ only where it is expected; behind the
// value of a variable, if Name is set; or any at all.
type Value struct {
	Name   string
	Lo, Hi int64
	Any    bool
}

// number is the literal n.
func number(n int64) Value { return Value{Lo: n, Hi: n} }

// exact reports whether v can be sent.
func (v Value) exact() bool { return !v.Any && v.Lo == v.Hi }
