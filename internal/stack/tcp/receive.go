package tcp

import (
	"io"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// maxQueuedFrags bounds what a peer of tiny segments makes us remember: window
// and buffers count bytes and pages, but each frag also costs 20 bytes of queue.
const maxQueuedFrags = 1 << 16

// text is the seventh and eighth step of RFC 9293 section 3.10.7.4: payload and
// FIN of an acceptable segment that begins at seq. It takes over the frags.
func (c *Conn) text(now mono.Time, s *Segment, seq wire.Seq, flags wire.Flags) {
	frags, n, fin := s.Frags, s.Len, flags.Has(wire.FIN)
	if n == 0 && !fin {
		c.sh.Pool.PutFrags(frags)
		return
	}
	drops := &c.sh.Stats.Drops
	if c.state.finReceived() {
		drops.AfterFin++
		c.acks.now = true
		c.sh.Pool.PutFrags(frags)
		return
	}
	// Right edge first: the window, and a FIN that was seen before.
	end := seq.Add(uint32(n))
	if c.rcv.adv.LessThan(end) && c.rcv.nxt != end {
		drops.BeyondWindow++
		end, fin = c.rcv.adv, false
	}
	if c.rcv.finSeen && c.rcv.fin.LessThan(end) {
		drops.AfterFin++
		end, fin = c.rcv.fin, false
		c.acks.now = true
	}
	if fin && (c.rcv.finSeen && end != c.rcv.fin || !c.ooo.empty() && end.LessThan(c.ooo.end())) {
		drops.AfterFin++ // contradicts what came before it
		fin = false
		c.acks.now = true
	}
	left := 0
	if seq.LessThan(c.rcv.nxt) {
		left = int(c.rcv.nxt - seq)
		drops.DuplicateBytes += uint64(min(left, n))
		c.duplicate(seq, earlier(c.rcv.nxt, end))
		seq = c.rcv.nxt
	}
	length := max(int(end.Sub(seq)), 0)
	if left > 0 || length < n {
		frags = c.sh.trim(frags, left, left+length)
		c.acks.recovering()
	}
	if length > 0 && !c.admit(now, seq) {
		c.sh.Pool.PutFrags(frags)
		return
	}
	if fin {
		c.rcv.finSeen, c.rcv.fin = true, end
	}
	if length > 0 {
		c.payload(now, seq, frags, length, length/s.count(), flags)
	} else {
		c.sh.Pool.PutFrags(frags)
	}
	switch {
	case c.rcv.finSeen && c.rcv.nxt == c.rcv.fin:
		c.finArrived(now)
	case fin:
		c.acks.now = true
	}
}

// admission is how payload of this batch is judged. It is found once a batch, since
// it looks at what the application's goroutines write; and that is enough, since
// the buffers of a batch were taken from the free ones before.
type admission uint8

const (
	unjudged    admission = iota
	plenty                // take everything
	shortage              // buffers are short: look at each segment
	queueIsFull           // too many frags wait
)

// judge finds it, if this batch has none yet.
func (c *Conn) judge() admission {
	if c.admission == unjudged {
		c.admission = c.judgeAnew()
	}
	return c.admission
}

func (c *Conn) judgeAnew() admission {
	switch {
	case c.Recv.Frags() >= maxQueuedFrags:
		return queueIsFull
	case c.sh.short():
		return shortage
	}
	return plenty
}

// admit reports whether payload at seq is taken.
func (c *Conn) admit(now mono.Time, seq wire.Seq) bool {
	drops := &c.sh.Stats.Drops
	if c.orphan {
		// RFC 9293 section 3.10.4 (CLOSE), RFC 2525 section 2.17: data that
		// nobody reads is answered with a reset, not an ACK.
		drops.AfterClose++
		c.Abort(now)
		return false
	}
	// What is refused gets no ACK: the peer is to slow down, not to send at once
	// what would be refused again.
	switch a := c.judge(); {
	case a == queueIsFull:
		drops.QueueFull++
		return false
	case a == shortage && c.overdrawn() && !c.makeRoom(seq):
		drops.OverShare++
		return false
	}
	return true
}

// payload takes in length bytes, in segments of each bytes, that begin at seq, in the
// window and not behind RCV.NXT.
func (c *Conn) payload(now mono.Time, seq wire.Seq, frags []buf.Frag, length, each int, flags wire.Flags) {
	n := uint32(length)
	switch {
	case seq != c.rcv.nxt:
		c.sh.Stats.OutOfOrder++
		c.hold(now, seq, frags)
		c.acks.duplicate()
		return
	case c.ooo.empty():
		c.continued(now, frags, n, uint32(each), flags)
		return
	case n <= uint32(c.ooo.first()-seq):
		// The gap, or the first part of it.
		c.push(frags)
		c.rcv.nxt = c.rcv.nxt.Add(n)
	default:
		c.insert(seq, frags)
	}
	c.drain()
	c.acks.recovering() // RFC 5681 section 4.2: at once when a gap is filled
	c.acks.received = now
}

// continued takes in n bytes, in segments of each, that continue the stream, when
// nothing is held beyond a gap.
func (c *Conn) continued(now mono.Time, frags []buf.Frag, n, each uint32, flags wire.Flags) {
	c.push(frags)
	c.rcv.nxt = c.rcv.nxt.Add(n)
	c.inOrder(now, n, each, flags)
	c.confirm(now)
}

// push takes in the frags that continue the stream: take and queue for each, but
// for runs of those that stay where they are, which are charged together.
func (c *Conn) push(frags []buf.Frag) {
	c.publishDue = true
	for len(frags) > 0 {
		n, bytes := c.staying(frags)
		c.sh.Pool.ChargeFrags(frags[:n], c.account)
		c.Recv.PushAll(frags[:n], int(bytes))
		c.rcv.total += bytes
		c.sh.Stats.ZeroCopyBytes += bytes
		if n == len(frags) {
			return
		}
		if f := frags[n]; f.Len() == 0 {
			c.sh.Pool.Put(f.Buffer())
		} else {
			c.queue(c.take(f))
		}
		frags = frags[n+1:]
	}
}

// staying is how many of the frags, from the first on, stay where they are, and their bytes, which
// the estimate has taken in.
func (c *Conn) staying(frags []buf.Frag) (n int, bytes uint64) {
	for n < len(frags) {
		some := frags[n:min(n+c.untilHalved(), len(frags))]
		k, size := inPlace(some)
		c.estimate(size, uint32(k))
		n += k
		bytes += size
		if k < len(some) {
			break
		}
	}
	return n, bytes
}

// inPlace is how many of the frags, from the first on, are long enough to stay where the driver has put
// them, and their bytes.
func inPlace(frags []buf.Frag) (n int, bytes uint64) {
	for i := range frags {
		f := &frags[i]
		if f.Len() <= copyBreak || f.Copied() {
			return i, bytes
		}
		bytes += uint64(f.Len())
	}
	return len(frags), bytes
}

// queue passes f, which is c's, up to the application.
func (c *Conn) queue(f buf.Frag) {
	if f.Copied() {
		c.sh.Stats.CopiedBytes += uint64(f.Len())
	} else {
		c.sh.Stats.ZeroCopyBytes += uint64(f.Len())
	}
	c.rcv.total += uint64(f.Len())
	c.Recv.Push(f)
}

// finArrived takes in the peer's FIN: all before it was received.
func (c *Conn) finArrived(now mono.Time) {
	c.rcv.nxt = c.rcv.nxt.Add(1)
	if c.rcv.adv.LessThan(c.rcv.nxt) {
		c.rcv.adv = c.rcv.nxt
	}
	c.acks.now = true
	c.Recv.End(io.EOF)
	c.publishDue = true
	switch c.state {
	case Established:
		c.state = CloseWait
	case FinWait1:
		c.state = Closing // an ACK of our FIN would have come before
	case FinWait2:
		c.enterTimeWait(now)
	}
}

// trim keeps the bytes [from, to) of the frags' payload and drops the references
// of frags that have none of them.
func (sh *Shared) trim(frags []buf.Frag, from, to int) []buf.Frag {
	kept := frags[:0]
	for _, f := range frags {
		n := f.Len()
		lo, hi := min(max(from, 0), n), min(max(to, 0), n)
		from, to = from-n, to-n
		if lo >= hi {
			sh.Pool.Put(f.Buffer())
			continue
		}
		kept = append(kept, f.Slice(lo, hi))
	}
	return kept
}
