package tcp

import "fmt"

// checkConn checks what must hold between two calls whatever the network does.
func checkConn(c *Conn) error {
	r := &c.rcv
	if c.state.synchronized() || c.state == SynReceived {
		if r.adv.LessThan(r.nxt) {
			return fmt.Errorf("window's right edge is %d before RCV.NXT", r.nxt.Sub(r.adv))
		}
		if r.finSeen && !c.state.finReceived() && r.fin.LessEq(r.nxt) && r.fin != r.nxt {
			return fmt.Errorf("RCV.NXT is beyond the peer's FIN in %v", c.state)
		}
	}
	if c.snd.nxt.LessThan(c.snd.una) || c.snd.max.LessThan(c.snd.nxt) {
		return fmt.Errorf("una %d nxt %d max %d", c.snd.una, c.snd.nxt, c.snd.max)
	}
	ranges := 0
	at := r.nxt
	for i := range c.ooo.list {
		h := &c.ooo.list[i]
		if h.frag.Len() == 0 {
			return fmt.Errorf("held frag %d is empty", i)
		}
		if h.seq.LessThan(at) || i == 0 && h.seq == at {
			return fmt.Errorf("held frag %d begins at %d, the one before ends at %d", i, h.seq, at)
		}
		if i == 0 || h.seq != at {
			ranges++
		}
		at = h.end()
	}
	if ranges != c.ooo.ranges {
		return fmt.Errorf("%d ranges counted as %d", ranges, c.ooo.ranges)
	}
	if len(c.ooo.list) > 0 {
		if r.adv.LessThan(at) {
			return fmt.Errorf("held data ends %d beyond the window", at.Sub(r.adv))
		}
		if r.finSeen && r.fin.LessThan(at) {
			return fmt.Errorf("held data beyond the peer's FIN")
		}
	}
	if c.Send != nil && c.Send.Buffered() < 0 {
		return fmt.Errorf("%d bytes buffered to send", c.Send.Buffered())
	}
	if c.Send != nil && c.state.synchronized() && c.state != TimeWait {
		end := c.snd.una.Add(uint32(c.Send.Buffered()))
		if c.finSet {
			if c.snd.fin != end && c.snd.una != c.snd.fin.Add(1) {
				return fmt.Errorf("our FIN is not where the data ends")
			}
			end = c.snd.fin.Add(1)
		}
		if end.LessThan(c.snd.max) {
			return fmt.Errorf("%d more sent than written", c.snd.max.Sub(end))
		}
		if c.state != Closed && c.snd.nxt != c.snd.una && !c.dirty && !c.timers.armed(timerRetransmit) {
			return fmt.Errorf("data is under way and no timer runs")
		}
	}
	return nil
}
