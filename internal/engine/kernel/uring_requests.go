//go:build linux

package kernel

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/uring"
)

// opMask is the kinds of requests, one bit each: which of them a socket has in
// the kernel, and in the user data which one completed.
type opMask uint8

const (
	reqRecv    opMask = 1 << iota // a stream's payload
	reqAccept                     // a listener's connections
	reqPollIn                     // a UDP socket has datagrams
	reqPollOut                    // there is space to write, or a dialed connection
	reqCancel                     // with one of the others: an end to that; not noted in socket.ops
	reqWake                       // somebody wants the thread's attention; no socket's
)

// User data: the kind of request 8 bits, generation 24, slot 32.
const (
	opShift  = 56
	genShift = 32
)

func userData(o opMask, s *socket) uint64 {
	return uint64(o)<<opShift | uint64(s.token.gen)<<genShift | uint64(s.token.slot)
}

func (u *uringBackend) request(o opMask, s *socket, sqe uring.SQE) {
	s.ops |= o
	u.push(sqe)
}

func (u *uringBackend) attach(s *socket) error {
	if s.listener != nil {
		u.receive(s)
	}
	return nil
}

func (u *uringBackend) receive(s *socket) {
	switch {
	case s.conn != nil:
		u.armLater(s)
	case s.packet != nil:
		if s.ops&reqPollIn == 0 {
			u.request(reqPollIn, s, uring.PollAdd(s.fd, unix.POLLIN, uring.PollMultishot, userData(reqPollIn, s)))
		}
		u.enqueue(s)
	default:
		if s.ops&reqAccept == 0 {
			u.request(reqAccept, s, uring.AcceptMultishot(s.fd, userData(reqAccept, s)))
		}
	}
}

func (u *uringBackend) armWrite(s *socket) {
	if s.ops&reqPollOut == 0 {
		u.request(reqPollOut, s, uring.PollAdd(s.fd, unix.POLLOUT, 0, userData(reqPollOut, s)))
	}
}

func (u *uringBackend) detach(s *socket) {
	if s.ops == 0 {
		u.l.detached(s)
		return
	}
	for o := reqRecv; o < reqCancel; o <<= 1 {
		if s.ops&o != 0 {
			u.cancel(o, s)
		}
	}
}

// cancel ends request o of s. By its user data, not by the descriptor: that may
// be another socket's when the kernel comes to look.
func (u *uringBackend) cancel(o opMask, s *socket) {
	u.push(uring.Cancel(userData(o, s), userData(o|reqCancel, s)))
}

// completion handles one completion.
func (u *uringBackend) completion(c *uring.CQE) {
	o := opMask(c.UserData >> opShift)
	if o == reqWake {
		if u.bell != nil && !c.More() {
			u.armBell()
		}
		return
	}
	s := u.l.table.find(token{slot: uint32(c.UserData), gen: uint32(c.UserData>>genShift) & genMask})
	if s == nil {
		return // a cancellation's own, of a socket that is gone
	}
	if o&reqCancel != 0 {
		u.cancelled(s, o&^reqCancel, c)
		return
	}
	if !c.More() {
		s.ops &^= o
	}
	switch o {
	case reqRecv:
		u.received(s.conn, c)
	case reqAccept:
		u.accepted(s.listener, c)
	case reqPollOut:
		s.notifyWritable()
	case reqPollIn:
		u.readable(s, c)
	}
	if s.detaching && s.ops == 0 {
		u.l.detached(s)
	}
}

// cancelled is the end of a request to cancel request o of s. If o is still in
// the kernel, the cancellation came at a moment when it could not be found.
func (u *uringBackend) cancelled(s *socket, o opMask, c *uring.CQE) {
	if o == reqRecv {
		s.cancelling = false
	}
	if s.detaching && s.ops&o != 0 && c.Res < 0 {
		u.cancel(o, s)
	}
}

func (u *uringBackend) accepted(n *listener, c *uring.CQE) {
	err := c.Err()
	switch {
	case err == nil:
		u.l.stats.frames.Add(1)
		u.l.accepted(n, int(c.Res))
	case ksock.IsConnGone(err):
		u.l.stats.acceptGone.Add(1)
	case err != syscall.ECANCELED:
		u.l.starve(n)
		return
	}
	if !c.More() && !n.detaching {
		u.l.stats.rearmed.Add(1)
		u.receive(&n.socket)
	}
}

// readable notes that s may have something to read.
func (u *uringBackend) readable(s *socket, c *uring.CQE) {
	if s.detaching {
		return
	}
	if s.conn != nil {
		u.armLater(s)
		return
	}
	switch {
	case c.Res < 0:
		u.l.stats.socketErrors.Add(1)
		u.l.starved = append(u.l.starved, s)
	case !c.More():
		u.l.stats.rearmed.Add(1)
		u.receive(s)
	default:
		u.enqueue(s)
	}
}

func (u *uringBackend) enqueue(s *socket) {
	if !s.ready && !s.paused {
		s.ready = true
		u.next = append(u.next, s)
	}
}

// serveReady makes one call for each socket that the loop itself reads from.
func (u *uringBackend) serveReady() {
	u.queue, u.next = u.next, u.queue[:0]
	for i, s := range u.queue {
		u.queue[i] = nil
		s.ready = false
		if !s.detaching {
			u.serve(s)
		}
	}
}
