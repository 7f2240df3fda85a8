package tcp

// Stats count what a stack's connections did. Engine goroutine only; all grow.
type Stats struct {
	// Opens by us and by peers that were completed, and those that were given
	// up or refused.
	ActiveOpens, PassiveOpens, FailedOpens uint64
	// SYNs answered without keeping anything, ACKs of such answers that completed a
	// handshake, and those that acknowledged nothing that was sent.
	CookiesSent, CookiesAccepted, CookiesRefused uint64
	// Ends of established connections that were no orderly close.
	ResetsReceived, ResetsSent, TimedOut uint64

	SegmentsIn uint64
	// Payload bytes put into socket queues: where the driver left them, or
	// compacted.
	ZeroCopyBytes, CopiedBytes uint64
	// SentBytes is payload handed to Transmit, retransmissions included;
	// Supers the calls for it; PureAcks the segments without payload.
	SentBytes, Supers, PureAcks uint64

	Retransmits       uint64 // segments sent again, by timer or duplicate ACKs
	Timeouts          uint64 // retransmission timer expired
	FastRetransmits   uint64 // recoveries begun by duplicate ACKs
	Probes            uint64 // zero window probes and keep-alives
	DelayedAcks       uint64 // ACKs that the timer sent
	WindowUpdates     uint64 // ACKs sent because buffers came back
	ChallengeAcks     uint64 // RFC 5961
	OutOfOrder        uint64 // segments that did not continue the stream
	Compactions       uint64 // payloads copied together
	TimeWaitOverflows uint64 // connections that ended without TIME-WAIT
	PathMTULowered    uint64 // ICMP errors that made segments shorter
	PathMTUProbes     uint64 // longer segments tried, of what was learned of a path being old
	BlackHoles        uint64 // segments made shorter since long ones were never answered
	Marked            uint64 // data segments that routers marked (ECN)
	MarksEchoed       uint64 // reductions of the congestion window since peers echoed marks
	Reneged           uint64 // times that out-of-order data was dropped for want of buffers

	// Segments, or bytes where it says so, that were not taken, by cause.
	Drops Drops
}

// RecoveryStats count what loss recovery with SACK did. Engine goroutine only; all
// grow.
type RecoveryStats struct {
	Lost               uint64 // runs of segments that RACK marked lost
	TailProbes         uint64 // tail loss probes sent
	TailLosses         uint64 // losses that a tail loss probe repaired
	Undone             uint64 // reductions of the window taken back: nothing was lost
	DuplicatesReported uint64 // DSACKs: the peer got something twice
	PeerReneged        uint64 // times that the peer dropped what it had SACKed
	BadBlocks          uint64 // SACK blocks outside of what is under way, or inverted
}

// Drops count what was not taken. A segment may be counted more than once if
// parts of it are dropped for different causes.
type Drops struct {
	DuplicateBytes uint64 // bytes that were there already
	BeyondWindow   uint64 // segment lies, or reaches, beyond the window offered
	NoTimestamp    uint64 // RFC 7323 section 3.2
	OldTimestamp   uint64 // PAWS, RFC 7323 section 5
	BadAck         uint64 // RFC 5961 section 5
	BlindReset     uint64 // RST that does not hit exactly, RFC 5961 section 3
	BlindSyn       uint64 // SYN in a synchronized state, RFC 5961 section 4
	NoAck          uint64 // segment without ACK
	AfterFin       uint64 // data beyond the peer's FIN
	OutOfOrderFull uint64 // out-of-order data beyond what may be held
	QueueFull      uint64 // too many tiny frags wait for the application
	ListenerFull   uint64 // SYN or final ACK with the backlog full
	OverShare      uint64 // buffers short, and the connection has more than its share
	AfterClose     uint64 // data that nobody will read any more
	NotForListener uint64 // segment to a listener that is no SYN
	ClosedConn     uint64 // segment for a connection that is closed already
}
