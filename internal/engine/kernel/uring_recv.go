//go:build linux

package kernel

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

// arm receives for s, such that it can't exceed its limit. A connection that
// could take all that is in the ring, twice to begin with, gets a multishot
// request. One nearer to its limit is read from by the loop itself, as much as
// it may take. When nothing is free but what is in the ring, the one buffer that
// everybody may have comes from there.
func (u *uringBackend) arm(s *socket) {
	l := u.l
	credit := l.credit(s)
	multishot := credit >= 2*u.bufs.ring.Entries()
	if !multishot && (credit <= 0 || l.pool.Free()+len(l.stock) > 0 || u.bufs.held() == 0) {
		u.enqueue(s)
		return
	}
	sqe := uring.RecvMultishot(s.fd, u.bufs.ring.Group(), u.flags, userData(reqRecv, s))
	if !multishot {
		// Without a bundle: that takes as many as there are, whatever its length.
		sqe.IOPrio = 0
	}
	s.single = !multishot
	u.request(reqRecv, s, sqe)
}

// serve reads from stream s once.
func (u *uringBackend) serve(s *socket) {
	l := u.l
	switch more := l.readStream(s.conn); {
	case s.paused || s.ending:
	case more || l.credit(s) >= 2*u.bufs.ring.Entries():
		u.armLater(s)
	default:
		u.request(reqPollIn, s, uring.PollAdd(s.fd, unix.POLLIN, 0, userData(reqPollIn, s)))
	}
}

// received handles a completion of a stream's receive.
func (u *uringBackend) received(c *conn, cqe *uring.CQE) {
	s := &c.socket
	u.deliver(c, cqe)
	if cqe.Res <= 0 {
		switch errno := syscall.Errno(-cqe.Res); errno {
		case syscall.ENOBUFS, syscall.ECANCELED, syscall.EAGAIN, syscall.EINTR:
			// Nothing is wrong with the connection.
		default:
			c.end(errno) // 0 is the end of the stream
		}
	}
	switch {
	case s.detaching || s.ending:
	case !cqe.More():
		if !s.single {
			u.l.stats.rearmed.Add(1)
		}
		u.armLater(s)
	case !s.cancelling && u.l.credit(s) < u.bufs.ring.Entries():
		// It could exceed its limit in one go.
		s.cancelling = true
		u.cancel(reqRecv, s)
	}
}

// deliver pushes the payload of a completion, if it has any.
func (u *uringBackend) deliver(c *conn, cqe *uring.CQE) {
	l, s, p := u.l, &c.socket, &u.bufs
	var err error
	if p.segs, err = p.ring.Consume(p.segs[:0], *cqe); err != nil {
		u.breakdown(err)
		return
	}
	if len(p.segs) == 0 {
		return
	}
	n := int(max(cqe.Res, 0))
	size := l.pool.Region().BufferSize()
	if room := l.tailRoom(s); n <= min(len(room), size/2) && len(p.segs) == 1 {
		b := p.take(p.segs[0].BID)
		p.spare = append(p.spare, b)
		if n == 0 {
			return
		}
		copy(room, l.pool.Region().Buffer(b)[:n])
		c.queue.Push(l.extendTail(s, n))
		l.stats.compacted.Add(1)
	} else {
		for i, seg := range p.segs {
			f := l.own(s, p.take(seg.BID), int(seg.Len))
			if i == len(p.segs)-1 {
				l.openTail(s, f)
			}
			c.queue.Push(f)
		}
	}
	l.stats.frames.Add(1)
	c.took(n)
}
