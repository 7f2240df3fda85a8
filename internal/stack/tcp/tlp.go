package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// worstDelayedAck is how long a peer may sit on the ACK of a single segment: WCDelAckT
// of RFC 8985 section 7.2.
const worstDelayedAck = 200 * time.Millisecond

// leastProbeTimeout keeps a round trip of microseconds, as on one machine, from making a
// probe of what the peer had no time to get to: its thread has to run first. Linux
// waits for two ticks of its clock at least (TCP_TIMEOUT_MIN).
const leastProbeTimeout = 2 * time.Millisecond

// tailProbe is the tail loss probe (RFC 8985 section 7). Nothing arrives behind the
// last segment of a flight, so that its loss shows only by the retransmission timer;
// a probe after two round trips has the peer tell earlier.
type tailProbe struct {
	timing bool // timerLoss is the probe's, not RACK's
	due    bool // a probe is to be sent
	reset  bool // something was sent or acknowledged: the timer starts anew
	open   bool // a probe was sent, and not answered: there is no second one; not in recovery (section 7.1)
	copied bool // it was something sent before
	end    wire.Seq
}

// timeProbe sets the timer after output, if a probe may help: nothing tells of a
// loss, and nothing is being repaired (section 7.2).
func (c *Conn) timeProbe(now mono.Time) {
	p, l := &c.tlp, &c.loss
	reset := p.reset
	p.reset = false
	repairing := l.active || l.timedOut || c.board.sacked > 0 || c.rtt.backoff > 0
	shrunk := c.snd.una.Add(c.snd.wnd).LessThan(c.snd.nxt) // the peer would not take it
	if p.open || repairing || shrunk || c.board.empty() {
		if p.timing {
			p.timing = false
			c.timers.stop(timerLoss)
		}
		return
	}
	if !reset || c.timers.armed(timerLoss) && !p.timing {
		return
	}
	p.timing = true
	c.timers.set(timerLoss, min(now.Add(c.probeTimeout()), c.timers[timerRetransmit]))
}

// probeTimeout is TLP_calc_PTO.
func (c *Conn) probeTimeout() time.Duration {
	if c.rtt.srtt == 0 {
		return time.Second
	}
	pto := max(2*c.rtt.srtt, leastProbeTimeout)
	if uint32(c.snd.nxt-c.snd.una) <= c.snd.mss {
		pto += worstDelayedAck
	}
	return pto
}

// lossTimerDue runs when timerLoss expires.
func (c *Conn) lossTimerDue(now mono.Time) {
	if !c.tlp.timing {
		if c.detectLoss(now) {
			c.repair(&delivery{})
		}
		return
	}
	c.tlp.timing = false
	c.tlp.due = true
	c.timers.stop(timerRetransmit) // runs from the probe on
}

// sendTail sends the probe: a new segment, or if there is none the last one again
// (section 7.3).
func (c *Conn) sendTail(now mono.Time) {
	p, b := &c.tlp, &c.board
	p.due = false
	if p.open || b.empty() || b.sacked > 0 || c.loss.active || c.loss.timedOut {
		return // an ACK has come meanwhile
	}
	avail := uint32(c.Send.Buffered()) - min(uint32(c.Send.Buffered()), uint32(c.snd.nxt-c.snd.una))
	room := uint32(max(c.snd.una.Add(c.snd.wnd).Sub(c.snd.nxt), 0))
	if n := min(avail, room, c.snd.mss); n > 0 && !b.full() {
		c.sh.Recovery.TailProbes++
		c.sendData(now, n, false)
		p.open, p.copied, p.end = true, false, c.snd.nxt
		return
	}
	c.sh.Recovery.TailProbes++
	p.open, p.copied, p.end = true, true, c.snd.nxt
	i := b.tx.last()
	most := c.snd.mss
	if c.finSet && c.snd.fin.LessThan(c.snd.nxt) {
		most++ // our FIN goes with a full segment
	}
	if r := b.tx.at(i); r.len() > most {
		b.cut(i, r.end-wire.Seq(most))
		i = b.tx.last()
	}
	c.sendRecord(now, i, b.tx.at(i).flags|again)
}

// probeAcked looks for the answer to a probe (section 7.4, TLP_process_ack): if the
// segment sent again did fill a hole, there was a loss that congestion control has
// to hear of. plain tells that the ACK has neither data nor anything new.
func (c *Conn) probeAcked(h *wire.TCP, d *delivery, plain bool) {
	p := &c.tlp
	if !p.open || h.Ack.LessThan(p.end) {
		return
	}
	switch {
	case !p.copied:
		p.open = false
	case d.dsack && d.twice.End == p.end:
		p.open, d.dsack = false, false // no sign of reordering
	case p.end.LessThan(h.Ack):
		p.open = false
		c.cc.reduce(min(c.cc.cwnd, d.bytes+uint32(c.snd.nxt-c.snd.una)), c.snd.mss, false)
		c.cc.cwnd = min(c.cc.cwnd, c.cc.ssthresh)
		c.certain()
		c.sh.Recovery.TailLosses++
	case plain && h.Options.SACKCount == 0:
		p.open = false
	}
}
