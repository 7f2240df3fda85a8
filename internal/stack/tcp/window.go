package tcp

import "github.com/zctap/zctap/internal/wire"

// The receive window follows free buffers, not bytes (rule 2 of the design). A
// connection may keep as many buffers as are free: the dynamic threshold of
// Choudhury and Hahne ("Dynamic queue length thresholds for shared-memory packet
// switches", 1998) with alpha = 1. Alone it gets half of the region, two get a
// third each, and n slow readers leave 1/(n+1) to whoever comes next. What is
// left of its share, times what a buffer of this peer holds on average, is the
// window.
//
// A window is a promise about buffers that are free now and may not be free later,
// and it cannot be taken back. So two things keep promises and buffers in
// proportion. A window begins small and grows as the application reads (the idea
// of Linux's receive buffer auto-tuning): one that reads nothing is never promised
// much. And an eighth of the buffers, the reserve, is promised to nobody. If it has
// to be touched, because many promises were called in at once, the dynamic
// threshold decides about what arrives as well, as its authors have it: a
// connection that has used up its share gets no more, whatever its window says.
// Its peer sends that again. What remains is that as many connections as the
// reserve has buffers, all new and none of them read from, can use it up.

// estimateSpan is the buffers that the average looks back on.
const estimateSpan = 64

// firstWindow bounds the first window, in bytes: some round trips of a sender that
// begins with ten segments.
const firstWindow = 256 << 10

// startWindow is the window of a new connection: an eighth of what is free for the
// first, ever less for those that come after, so that the sum of such promises
// grows with the logarithm of their number only.
func (c *Conn) startWindow() {
	c.startEstimate()
	first := min(c.sh.Pool.Free()/(8+2*c.sh.conns)*c.bytesPerBuffer(), firstWindow)
	c.rcv.limit = uint32(min(max(first, 2*int(c.rcv.mss)), c.sh.MaxRecvWindow))
}

// growWindow doubles what the window may be when the application, which has taken so many bytes, has
// read half as much since it did so last.
func (c *Conn) growWindow(taken uint64) {
	r := &c.rcv
	if taken-r.grown >= uint64(r.limit/2) {
		r.grown = taken
		r.limit = uint32(min(2*int(r.limit), c.sh.MaxRecvWindow))
	}
}

// startEstimate supposes full segments, in as few buffers as they take, until there
// is experience.
func (c *Conn) startEstimate() {
	c.rcv.estBuffers = 8
	if room := uint32(c.sh.FrameRoom); room > 0 {
		c.rcv.estBytes = 8 * c.rcv.mss / ((c.rcv.mss + maxHeaders + room - 1) / room)
		return
	}
	c.rcv.estBytes = 8 * min(c.rcv.mss, uint32(c.sh.Pool.Region().BufferSize()))
}

// maxHeaders is what may precede the payload of an ordinary segment: an IPv6 header
// and a TCP header with all its options, bytes.
const maxHeaders = wire.IPv6HeaderLen + wire.TCPHeaderLen + wire.MaxTCPOptionsLen

// estimate takes in that n bytes came, in so many buffers: untilHalved of them at most.
func (c *Conn) estimate(n uint64, buffers uint32) {
	r := &c.rcv
	n += uint64(r.estBytes)
	buffers += r.estBuffers
	if buffers >= estimateSpan || n >= 1<<30 {
		buffers = max(buffers/2, 1)
		n /= 2
	}
	r.estBytes, r.estBuffers = uint32(n), buffers
}

// untilHalved is how many buffers the next estimate may be of at most, for it to become what it would
// of one after the other: with as many it is halved. One at least.
func (c *Conn) untilHalved() int { return max(estimateSpan-int(c.rcv.estBuffers), 1) }

// bytesPerBuffer is what a buffer holds, on average. Not below copyBreak: smaller
// payloads share buffers when these become scarce.
func (c *Conn) bytesPerBuffer() int {
	n := int(c.rcv.estBytes / c.rcv.estBuffers)
	return min(max(n, copyBreak), c.sh.Pool.Region().BufferSize())
}

// share is the most buffers that c may keep now that free are free.
func (c *Conn) share(free int) int {
	if m := c.sh.MaxHeld; m > 0 {
		return min(free, m)
	}
	return free
}

// space is the bytes that c may have the peer send. alone means that c keeps no
// buffer: there is no more to wait for.
func (c *Conn) space() (bytes uint32, alone bool) {
	if c.Recv == nil {
		return c.spaceBeside(0)
	}
	return c.spaceBeside(int(c.rcv.total - c.Recv.Taken())) // read and not returned is in Held
}

// spaceBeside is space where so many bytes were not read yet.
func (c *Conn) spaceBeside(unread int) (bytes uint32, alone bool) {
	own, free := c.account.Held(), c.sh.Pool.Free()
	// With the reserve under attack half of the rest may still be promised:
	// a connection that is read from goes on, if slowly.
	free -= min(c.sh.reserve, free/2)
	left := max(c.share(free)-own, 0) * c.bytesPerBuffer()
	limit := int(c.rcv.limit) - unread
	if !c.opt.scaling {
		limit = min(limit, 1<<16-1)
	}
	return uint32(max(min(left, limit), 0)), own == 0
}

// overdrawn reports whether c has used up its share of the reserve, where alpha is
// one half. A connection that keeps nothing is served with the last buffer: it may
// be the one whose application does read.
func (c *Conn) overdrawn() bool {
	own := c.account.Held()
	return own > 0 && own >= c.share(c.sh.Pool.Free())/2
}

// short reports that only the reserve is left: what comes now is admitted by the
// dynamic threshold, and not held if it is out of order. What lies ready to receive
// into beside the free buffers makes up for half of it, so that a peer may be wrong
// by as much: its windows were made of averages.
func (sh *Shared) short() bool { return sh.Pool.Free() < sh.shortBelow }

// offered is what is left of the window that the peer knows of.
func (c *Conn) offered() uint32 { return uint32(max(c.rcv.adv.Sub(c.rcv.nxt), 0)) }

// offer moves the right edge of the window, never to the left (RFC 9293 section
// 3.8.6), and returns the header's window field. Small steps are not offered,
// lest the peer send small segments (section 3.8.6.2.2).
func (c *Conn) offer() uint16 {
	r := &c.rcv
	taken := c.Recv.Taken()
	c.growWindow(taken)
	bytes, alone := c.spaceBeside(int(r.total - taken))
	offered := c.offered()
	if grow := r.nxt.Add(bytes).Sub(r.adv); grow > 0 && (alone && offered < r.mss || uint32(grow) >= min(r.maxWnd/2, r.mss)) {
		r.adv, offered = r.nxt.Add(bytes), bytes
	}
	// Rounded down. To the peer the edge may seem to move left by less than a
	// unit, which RFC 7323 section 2.4 has it expect; what it was told before is
	// still taken. Rounded up, the window would not close under tiny segments,
	// each of which would be made up for by the rounding.
	field := min(offered>>c.opt.rcvShift, 1<<16-1)
	r.maxWnd = max(r.maxWnd, offered)
	if on := c.narrow(offered) && !c.state.finReceived() && !c.orphan; on != (r.constrained != 0) {
		c.constrain(on)
	}
	return uint16(field)
}

// synWindow is the window field of a SYN, which is never scaled (RFC 7323 section
// 2.2).
func (c *Conn) synWindow() uint16 {
	bytes, _ := c.space()
	w := min(bytes, 1<<16-1)
	c.rcv.maxWnd = max(c.rcv.maxWnd, w)
	if edge := c.rcv.nxt.Add(w); c.state == SynReceived && c.rcv.adv.LessThan(edge) {
		c.rcv.adv = edge
	}
	return uint16(w)
}

// narrow reports whether the peer, offered so many bytes, may soon have to wait for a wider
// window, or does already.
func (c *Conn) narrow(offered uint32) bool {
	r := &c.rcv
	return offered < max(r.maxWnd/4, min(2*r.mss, r.maxWnd/2))
}

// constrain puts c into the list of those that want to know of returned buffers,
// or takes it out.
func (c *Conn) constrain(on bool) {
	l, i := c.sh.constrained, int(c.rcv.constrained)-1
	switch {
	case on && i < 0:
		c.sh.constrained = append(l, c)
		c.rcv.constrained = int32(len(l) + 1)
	case !on && i >= 0:
		last := len(l) - 1
		l[i] = l[last]
		l[i].rcv.constrained = int32(i + 1)
		l[last] = nil
		c.sh.constrained = l[:last]
		c.rcv.constrained = 0
	}
}

// Constrained is the number of connections that WindowCheck would look at: if it
// is not 0 the engine asks the pool to be told of returned buffers before it
// sleeps.
func (sh *Shared) Constrained() int { return len(sh.constrained) }

// maxChecks is how many connections a WindowCheck looks at: those that crave for buffers
// may be thousands, and the others' packets do not wait for them.
const maxChecks = 128

// WindowCheck makes those constrained connections dirty whose window can open far
// enough to be worth an ACK of its own. Of many it looks at a part, and goes on with the
// next one. To be called when buffers may have been returned.
func (sh *Shared) WindowCheck() {
	n := len(sh.constrained)
	for range min(n, maxChecks) {
		if sh.checkNext++; sh.checkNext >= n {
			sh.checkNext = 0
		}
		sh.constrained[sh.checkNext].checkWindow()
	}
}

// WindowCheckAll is WindowCheck of all of them, before the engine sleeps.
func (sh *Shared) WindowCheckAll() {
	for _, c := range sh.constrained {
		c.checkWindow()
	}
}

func (c *Conn) checkWindow() {
	if c.acks.now {
		return
	}
	c.growWindow(c.Recv.Taken())
	bytes, alone := c.space()
	have := c.offered()
	// RFC 9293 section 3.8.6.2.2, and no more often than the window doubles.
	if bytes > have && (alone && have < c.rcv.mss || bytes-have >= max(have, min(c.rcv.maxWnd/2, 2*c.rcv.mss))) {
		c.acks.now = true
		c.sh.Stats.WindowUpdates++
		c.touch()
	}
}
