package tcp

import (
	"io"
	"net"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// finWait2Timeout ends a connection that we have closed and the peer does not
// close. RFC 9293 has no such timer; all systems do (Linux: tcp_fin_timeout),
// for nobody would ever end it.
const finWait2Timeout = time.Minute

// CloseWrite sends FIN behind what was written (RFC 9293 section 3.10.4): the
// application's shutdown(SHUT_WR). Receiving goes on.
func (c *Conn) CloseWrite(mono.Time) {
	if c.state == Closed {
		return
	}
	c.closing = true
	if c.Send != nil {
		c.Send.Shut()
	}
	c.touch()
}

// Close gives up both directions: the application is gone. It has closed Recv;
// payload that it did not take is dropped, and if there was any the peer is told
// by a RST (RFC 2525 section 2.17, RFC 1122 section 4.2.2.13). Otherwise what was
// written is sent, with a FIN behind it, and the connection goes its way to
// CLOSED.
func (c *Conn) Close(now mono.Time) {
	if c.orphan || c.state == Closed {
		c.abandonRecv()
		return
	}
	c.orphan, c.closedAt = true, now
	if c.state == SynSent {
		c.kill(net.ErrClosed)
		return
	}
	if c.abandonRecv() > 0 || !c.ooo.empty() {
		c.Abort(now)
		return
	}
	c.constrain(false)
	c.CloseWrite(now)
	if c.state == FinWait2 {
		c.timers.set(timerClose, now.Add(finWait2Timeout))
	}
}

// Linger bounds, after Close, how long the connection goes on with what the peer has not
// acknowledged, our FIN included: after d it is reset (SO_LINGER). Once the FIN is acknowledged
// nothing is left to give up, and the connection goes its way.
func (c *Conn) Linger(now mono.Time, d time.Duration) {
	switch c.state {
	case Closed, FinWait2, TimeWait:
	default:
		c.timers.set(timerClose, now.Add(d))
		c.touch() // the engine looks at Deadline after Output
	}
}

// closeTimeDue runs when timerClose expires: TIME-WAIT or FIN-WAIT-2 is over, or the time to
// linger.
func (c *Conn) closeTimeDue(now mono.Time) {
	if c.state == TimeWait || c.state == FinWait2 {
		c.kill(nil)
	} else {
		c.Abort(now)
	}
}

// abandonRecv drops what the application will not take any more: nothing before
// it has closed Recv.
func (c *Conn) abandonRecv() (dropped int) {
	if c.Recv != nil {
		dropped = c.Recv.Drain()
	}
	return dropped
}

// Abort resets the connection (RFC 9293 section 3.10.5). Whoever still reads or
// writes gets net.ErrClosed, after what was received.
func (c *Conn) Abort(mono.Time) {
	if c.state != Closed && c.state != SynSent && c.state != TimeWait {
		c.resetDue = true
	}
	c.kill(net.ErrClosed)
}

// Fail ends the connection without a word to the peer: the wire is gone. Whoever
// still reads or writes gets err, after what was received.
func (c *Conn) Fail(_ mono.Time, err error) { c.kill(err) }

// finAcked runs when the peer has acknowledged our FIN; false: that was all.
func (c *Conn) finAcked(now mono.Time) bool {
	switch c.state {
	case FinWait1:
		c.state = FinWait2
		if c.orphan {
			c.timers.set(timerClose, now.Add(finWait2Timeout))
		}
	case Closing:
		c.enterTimeWait(now)
		return false
	case LastAck:
		c.kill(nil)
		return false
	}
	return true
}

// kill ends the connection, with err for the application or nil for an orderly
// end, and lets go of all buffers but those that the application can still read.
func (c *Conn) kill(err error) {
	if c.state == Closed {
		return
	}
	if !c.accepted {
		c.sh.Stats.FailedOpens++
	}
	if c.listener != nil {
		c.listener.pending--
		c.listener = nil
	}
	if c.state == TimeWait {
		c.wait.End()
	} else {
		c.sh.conns--
	}
	c.state = Closed
	c.timers = timers{}
	c.acks = ackPolicy{}
	c.dropHeld()
	c.untrack()
	c.closePack()
	c.constrain(false)
	c.touch()
	if c.Recv != nil {
		c.Recv.End(orElse(err, io.EOF))
		c.publishDue = true
		c.abandonRecv()
	}
	if c.Send != nil {
		c.Send.fail(orElse(err, syscall.EPIPE))
	}
	c.connected(err)
}

func orElse(err, other error) error {
	if err == nil {
		return other
	}
	return err
}
