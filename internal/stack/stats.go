package stack

import (
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/stack/udp"
)

// Stats are a Stack's counters; all but Conns only grow.
type Stats struct {
	Frames uint64 // given to Deliver
	Merged uint64 // of them, TCP segments that were taken in together with the one before

	// Answers to strangers, and those that were suppressed for there were too
	// many.
	Echoes, EchoesSuppressed             uint64
	Unreachables, UnreachablesSuppressed uint64 // of ports, and of the rest of fragments
	ResetsSuppressed                     uint64

	// Reassembled packets, and the buffers that wait for the rest of theirs.
	Reassembled  uint64
	FragmentsNow int

	// ICMPErrors are those that were told to the flow that they quote.
	ICMPErrors uint64

	DatagramsSent, DatagramBytesSent uint64

	Conns int // connections that there is state for, those in TIME-WAIT included

	IP  ip.Stats
	TCP tcp.Stats
	UDP udp.Stats

	Recovery tcp.RecoveryStats

	SendWaits uint64 // times that a writer waited for Config.SendMemory
}

// Stats are the counters so far.
func (s *Stack) Stats() Stats {
	st := s.stats
	st.Conns = s.conns.n + s.waits.table.n
	st.Reassembled, st.FragmentsNow = s.fragments.Reassembled, s.fragments.Held()
	st.IP, st.TCP, st.UDP = s.tx.Stats(), s.tcp.Stats, s.udp.Stats
	st.Recovery, st.SendWaits = s.tcp.Recovery, s.tcp.SendWaits()
	return st
}

// Traffic is counters of what passes, for who looks at them after each batch.
type Traffic struct {
	Frames    uint64 // given to Deliver
	Datagrams uint64 // queued, or dropped because their socket was full
	Sent      uint64 // frames handed to the driver

	StreamBytes uint64 // payload of TCP, taken in in order
	SentBytes   uint64 // payload sent, of TCP and datagrams
}

// Traffic is these counters so far.
func (s *Stack) Traffic() Traffic {
	t := &s.tcp.Stats
	return Traffic{
		Frames: s.stats.Frames, Datagrams: s.udp.Stats.Datagrams + s.drops[socketFull], Sent: s.tx.Sent(),
		StreamBytes: t.ZeroCopyBytes + t.CopiedBytes, SentBytes: t.SentBytes + s.stats.DatagramBytesSent,
	}
}

// Overrun is how many frames were dropped because their socket was full.
func (s *Stack) Overrun() uint64 { return s.drops[socketFull] }

// Drops calls f for each cause for which frames were dropped, apart from what TCP
// counts itself.
func (s *Stack) Drops(f func(cause string, n uint64)) {
	for c, n := range s.drops {
		if n > 0 {
			f(cause(c).String(), n)
		}
	}
	for c, n := range s.fragments.Drops {
		if n > 0 {
			f(ip.Refusal(c).String(), n)
		}
	}
}
