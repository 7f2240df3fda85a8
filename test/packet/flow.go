package packet

import "github.com/zctap/zctap/internal/wire"

// The ports: the stack listens on stackPort, flow n is with the peer's port
// peerPorts+n, and what the stack opens itself comes from activePorts+n.
const (
	stackPort   = 8080
	peerPorts   = 40000
	activePorts = 50000
)

// defaultISN is so near the end of the sequence space that most scripts pass it.
const defaultISN = wire.Seq(0xfffff000)

// A flow is the packets between two ports, and where their sequence numbers begin.
type flow struct {
	peer, stack  uint16 // ports
	ours, theirs wire.Seq
	learned      bool // theirs, from a SYN that was expected
	lastTS       uint32
}

func newFlow(n int) *flow {
	return &flow{peer: uint16(peerPorts + n), stack: stackPort, ours: defaultISN}
}

// carries reports whether a packet of the stack's is the flow's.
func (f *flow) carries(r *received) bool {
	switch r.ip.Proto {
	case wire.ProtoTCP:
		return r.tcp.SrcPort == f.stack && r.tcp.DstPort == f.peer
	case wire.ProtoUDP:
		return r.udp.SrcPort == f.stack && r.udp.DstPort == f.peer
	}
	return true
}

// learn takes the stack's first sequence number from its SYN, to which want gives a
// number.
func (f *flow) learn(want *Packet, r *received) {
	if f.learned || !want.Flags.Has(wire.SYN) || !r.tcp.Flags.Has(wire.SYN) || !want.Seq.exact() || want.Seq.Name != "" {
		return
	}
	f.learned = true
	f.theirs = r.tcp.Seq - wire.Seq(uint32(want.Seq.Lo))
}
