package user

import (
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
)

// Stats adds the engine's counters to s. It waits for the engine's goroutine.
func (e *Engine) Stats(s *engine.Stats) {
	e.do(func(mono.Time) { e.stats(s) })
}

// stats is Stats' part for the engine.
func (e *Engine) stats(s *engine.Stats) {
	st := e.stack.Stats()
	d := e.driverStats
	if !e.ended.Load() {
		e.driver.Stats(&d)
	}
	s.ZeroCopyBytes += st.TCP.ZeroCopyBytes + st.UDP.ZeroCopyBytes
	s.CopiedBytes += st.TCP.CopiedBytes + st.UDP.CopiedBytes
	s.SentBytes += st.TCP.SentBytes + st.DatagramBytesSent
	s.Frames += st.Frames
	s.Batches += e.rounds.batches
	s.Wakes += e.rounds.sleeps
	s.Syscalls += d.RxCalls + d.TxCalls + d.Waits
	s.Conns += st.Conns

	e.stack.Drops(s.Drop)
	for _, c := range tcpDrops(&st.TCP.Drops) {
		s.Drop(c.name, c.n)
	}
	s.Drop("driver-no-buffer", d.RxNoBuffer)
	s.Drop("driver-malformed", d.RxMalformed)
	s.Drop("driver-refused-to-send", d.TxDropped)
	s.Drop("wire-full", st.IP.Dropped)
	s.Drop("unsendable", st.IP.Unsendable)

	for _, c := range tcpEvents(&st.TCP) {
		s.Event(c.name, c.n)
	}
	for _, c := range recoveryEvents(&st.Recovery) {
		s.Event(c.name, c.n)
	}
	s.Event("send-memory-waits", st.SendWaits)
	s.Event("segments-merged", st.Merged)
	s.Event("datagrams-received", st.UDP.Datagrams)
	s.Event("datagrams-merged", st.UDP.Merged)
	s.Event("datagrams-sent", st.DatagramsSent)
	s.Event("echo-replies", st.Echoes)
	s.Event("echo-replies-suppressed", st.EchoesSuppressed)
	s.Event("unreachables", st.Unreachables)
	s.Event("unreachables-suppressed", st.UnreachablesSuppressed)
	s.Event("resets-suppressed", st.ResetsSuppressed)
	s.Event("reassembled", st.Reassembled)
	s.Event("icmp-errors", st.ICMPErrors)
	s.Event("wire-stalls", st.IP.Stalls)
	s.Event("buffer-stalls", d.RxStalls)
	s.Event("kicks", e.rounds.kicks)
	s.Event("lingers", e.rounds.lingers)
	s.Event("pauses", e.rounds.pauses)
	s.Event("gave-way", e.rounds.yields)
	if e.more != nil {
		e.more(s)
	}
}
