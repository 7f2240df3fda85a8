//go:build linux

package kernel

import (
	"fmt"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
)

func recvZC(s *socket, ifq uint32) uring.SQE {
	return uring.RecvZC(s.fd, ifq, s.zc.size, 0, userData(reqRecv, s))
}

// errMissteered explains EFAULT of RECV_ZC.
var errMissteered = fmt.Errorf("recv: %w: payload lies in buffers of another zero-copy queue, which only that can read:"+
	" the flow is steered to a queue that is not this engine's (ethtool -n, ethtool -x)", syscall.EFAULT)

// errNotCopied explains ENOMEM of RECV_ZC into a DMA buffer.
var errNotCopied = fmt.Errorf("recv: %w: the NIC did not put the payload into the DMA buffer, and the kernel can't copy it there:"+
	" the flow is not steered to the queue, or its headers are not split off", syscall.ENOMEM)

// handle handles completions. Almost all bring payload, many in a row for one
// connection.
func (z *zcrx) handle(cqes []uring.CQE) {
	for len(cqes) > 0 {
		c := &cqes[0]
		s, isData := z.receiver(c)
		if s != nil {
			if n := z.land(s, cqes); n > 0 {
				cqes = cqes[n:]
				continue
			}
		}
		cqes = cqes[1:]
		d, ok := z.ifq.Data(c)
		switch {
		case !isData || !ok:
			z.completion(c)
		case s == nil:
			z.dues.add(d.Token) // after the request's end: not that we know
		default:
			z.deliver(s.conn, d)
		}
	}
}

// receiver is the connection that c brings payload for, if it does; nil if that
// is gone.
func (z *zcrx) receiver(c *uring.CQE) (s *socket, isData bool) {
	if opMask(c.UserData>>opShift) != reqRecv {
		return nil, false
	}
	return z.l.table.find(tokenOf(c.UserData)), true
}

// received implements receiver: why there is no more payload.
func (z *zcrx) received(c *conn, cqe *uring.CQE) {
	s := &c.socket
	if cqe.More() {
		z.breakdown(fmt.Errorf("zcrx: a completion with result %d, flags %#x and place %#x, which is nowhere", cqe.Res, uint32(cqe.Flags), cqe.Extra[0]))
		return
	}
	z.unreserve(s, s.zc.reserved)
	if z.promises.drop(s) > 0 {
		z.l.wanting = false // others that are paused may have it
	}
	switch errno := syscall.Errno(-cqe.Res); {
	case cqe.Res == 0 && s.zc.usedUp():
		z.stats.usedUp.Add(1)
		z.grow(s)
		s.zc.active = true
	case cqe.Res >= 0:
		c.end(0)
	case errno == syscall.ENOMEM:
		if !z.dry(s) {
			return
		}
	case errno == syscall.ENOSPC:
		z.stats.queueFull.Add(1)
	case errno == syscall.ECANCELED, errno == syscall.EAGAIN, errno == syscall.EINTR:
		s.zc.active = false // nothing is wrong with the connection
	case errno == syscall.EFAULT:
		c.fail(errno, errMissteered)
	default:
		c.end(errno)
	}
	if s.ending {
		z.unbound(s)
	}
	if !s.detaching && !s.ending {
		z.l.stats.rearmed.Add(1)
		z.armLater(s)
	}
}

// dry is the end of a request for which the kernel found no buffer to copy to.
// Those that wait to be returned may help; else those that the application
// returns, or the NIC. It reports whether s goes on, or ends, now; else it is tried
// again after a while.
func (z *zcrx) dry(s *socket) bool {
	z.stats.exhausted.Add(1)
	z.flush = true
	z.doubt(z.last)
	if z.noneLeft() {
		z.starved()
	}
	if s.detaching || s.ending {
		return true
	}
	if z.o.DMABuf != 0 {
		s.conn.fail(syscall.ENOMEM, errNotCopied)
		return true
	}
	if s.zc.tries++; s.zc.tries > 1 {
		z.l.starved = append(z.l.starved, s)
		return false
	}
	return true
}

// land pushes payload where it lies, of the completions in a row that are for s,
// as long as nothing is to be decided of a single one, and returns how many they
// were. What is the same for all is done once: this is most of the engine's work.
func (z *zcrx) land(s *socket, cqes []uring.CQE) (n int) {
	r := &z.batch
	if free := r.free - len(cqes); s.ending || z.mayReserve(s, free) && z.creditOf(s, free) < len(cqes) {
		return 0 // tight, before they are through
	}
	z.followUp(s)
	copied := z.o.NoDevice || s.zc.elsewhere
	if !copied && z.owed() {
		return 0
	}
	places, bytes := z.places(s, cqes, buf.Mark(copied))
	frags := z.frags[:places]
	n, _ = z.l.pool.Land(frags)
	for _, f := range frags[n:] {
		bytes -= f.Len() // deliver sees what could not be counted
	}
	if n == 0 {
		return 0
	}
	frags = frags[:n]
	z.chargeAll(s, frags, cqes[:n])
	s.zc.noteAll(frags, bytes, z.unit)
	r.frames += n
	if copied {
		r.copied += bytes
		if !z.o.NoDevice {
			r.debt = max(r.debt-bytes, 0)
		}
	} else {
		r.zeroCopy += bytes
	}
	z.last = s
	s.conn.queue.PushAll(frags, bytes)
	z.l.touch(s)
	return n
}

// places fills z.frags with the places of payload, of the completions in a row that
// are for s, and returns how many they are, and of how many bytes: not more than until it
// is not known any more where it comes in. mark is whether it was copied.
func (z *zcrx) places(s *socket, cqes []uring.CQE, mark uint32) (n, bytes int) {
	known := locateEvery
	if s.zc.located != z.rounds {
		known = s.zc.unlocated
	}
	n, bytes, area := z.ifq.Run(cqes, known)
	if n == 0 {
		return 0, 0
	}
	frags, cqes := z.frags[:n], cqes[:n]
	first := uring.ZCData{Token: cqes[0].Extra[0]}
	// What a token, of which the highest bits are the area, differs from the place in the region by.
	move := uint64(area*z.areaBytes+first.Offset()) - first.Token
	shift := z.shift & 63 // &63: the compiler does not know
	inside := uint32(1)<<shift - 1
	for i := range frags {
		c := &cqes[i]
		at := c.Extra[0] + move
		frags[i].Landed(uint16(at>>shift), uint32(at)&inside|mark, uint32(c.Res))
	}
	return n, bytes
}

// deliver pushes payload: where it lies, or when others need the buffers more
// than we the CPU, moved to the reserve.
func (z *zcrx) deliver(c *conn, d uring.ZCData) {
	s := &c.socket
	z.batch.frames++
	z.followUp(s)
	s.zc.note(d.Len)
	z.last = s
	if s.ending {
		// Something before it had no place, or the NIC was found to drop all: nothing
		// goes behind a gap.
		z.dues.add(d.Token)
		z.stats.lost.Add(uint64(d.Len))
		return
	}
	b, off := z.place(d)
	if z.tight(s) && z.copyOut(c, b, off, d.Len) {
		z.dues.add(d.Token)
		return
	}
	frags := z.frags[:1]
	frags[0] = buf.Landed(b, off, d.Len)
	if _, err := z.l.pool.Land(frags); err != nil {
		// The buffer has as many references as it can count.
		z.dues.add(d.Token)
		if !z.copyOut(c, b, off, d.Len) {
			z.lose(c, d.Len, err)
		}
		return
	}
	f := frags[0]
	z.charge(s, b, d.Token)
	if z.copied(s, off, d.Len) {
		f = f.AsCopied()
		z.batch.copied += d.Len
	} else {
		z.batch.zeroCopy += d.Len
	}
	c.queue.Push(f)
	z.l.touch(s)
}

// place is the buffer of the region, and where in it, that payload lies in.
func (z *zcrx) place(d uring.ZCData) (b uint16, off int) {
	at, shift := d.Area()*z.areaBytes+d.Offset(), z.shift&63 // &63: the compiler does not know
	return uint16(at >> shift), at & (1<<shift - 1)
}

// lose ends c, for n bytes of its payload have no place.
func (z *zcrx) lose(c *conn, n int, err error) {
	z.stats.lost.Add(uint64(n))
	c.fail(syscall.ENOBUFS, fmt.Errorf("recv: %w: %w", syscall.ENOBUFS, err))
	if !c.cancelling {
		z.halt(&c.socket)
	}
}

// chargeAll is charge for each of frags, that cqes have brought.
func (z *zcrx) chargeAll(s *socket, frags []buf.Frag, cqes []uring.CQE) {
	for len(frags) > 0 {
		n := z.records.addSole(frags, cqes, s.token)
		s.zc.held += n
		s.zc.alone += n
		z.promises.use(s, n)
		z.batch.free -= n
		if z.group != nil {
			for i := range frags[:n] {
				z.group.claim(z, frags[i].Buffer())
			}
		}
		if n < len(frags) {
			z.charge(s, frags[n].Buffer(), cqes[n].Extra[0])
			n++
		}
		frags, cqes = frags[n:], cqes[n:]
	}
}

// charge notes that s has payload in buffer b.
func (z *zcrx) charge(s *socket, b uint16, place uint64) {
	if z.group != nil {
		z.group.claim(z, b)
	}
	out := z.records.out
	pays, joined := z.records.add(b, place, s.token)
	if pays {
		s.zc.held++
		z.promises.use(s, 1)
	}
	if z.records.out > out {
		s.zc.alone++
		z.batch.free--
	}
	if joined != nil {
		z.share(joined)
	}
}

// share notes that the owner of first, the first payload in a buffer, is not
// alone there any more.
func (z *zcrx) share(first *record) {
	if o := z.l.table.find(first.owner); o != nil {
		o.zc.alone--
	}
}

// tight reports whether payload for s is better copied out.
func (z *zcrx) tight(s *socket) bool {
	free := z.batch.free
	return z.mayReserve(s, free) && z.creditOf(s, free) <= 0
}

// copyOut moves payload to buffers of the reserve, as far as s may have some. It
// does all of it or nothing.
func (z *zcrx) copyOut(c *conn, b uint16, off, n int) bool {
	l, s := z.l, &c.socket
	size := l.pool.Region().BufferSize()
	room := l.tailRoom(s)
	if need := (n - len(room) + size - 1) / size; need > 0 {
		if max(l.credit(s), s.zc.reserved) < need || l.pool.Free()+len(l.stock) < need || l.stockUp(need) < need {
			return false
		}
		z.unreserve(s, need)
		room = l.tailRoom(s) // stockUp may have closed it
		if n-len(room) > need*size {
			return false
		}
	}
	from := l.pool.Region().Buffer(b)[off : off+n]
	if k := min(len(room), n); k > 0 {
		copy(room, from[:k])
		c.queue.Push(l.extendTail(s, k))
		from = from[k:]
	}
	for len(from) > 0 {
		b := l.fromStock()
		k := copy(l.pool.Region().Buffer(b), from)
		f := l.own(s, b, k)
		if from = from[k:]; len(from) == 0 {
			l.openTail(s, f)
		}
		c.queue.Push(f)
	}
	z.batch.copied += n
	z.stats.copiedOut.Add(1)
	l.touch(s)
	return true
}
