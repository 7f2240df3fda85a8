//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/uring"
)

// requests is what the backends have in common that use an io_uring: they
// accept, poll, receive datagrams, wake and cancel in the same way. How payload
// of streams comes in is the receiver's.
type requests struct {
	l    *loop
	ring uring.Instance
	recv receiver

	// How others wake the thread: by a message, or where the kernel can't send
	// one from outside a ring by an eventfd that is polled.
	waker *uring.Waker
	bell  *eventfd

	out    []uring.SQE    // requests not yet pushed
	idle   []*socket      // streams to be armed in the next round
	queue  []*socket      // to be read from by the loop itself, in turn
	next   []*socket      // of the next round
	cqes   [256]uring.CQE // room for reap
	broken error          // the kernel did what it can't do

	// capacity is the completions that the queue holds at least; 0: not of
	// interest to recv. reaped is how many came since the kernel was entered.
	capacity, reaped int
}

// A receiver makes payload of streams come in, with requests of the kind
// reqRecv.
type receiver interface {
	// arm asks for payload of s. Its round has not submitted yet.
	arm(s *socket)
	// received handles a completion of reqRecv.
	received(c *conn, cqe *uring.CQE)
	// serve reads from a stream that was enqueued.
	serve(s *socket)
	// event handles a completion of reqEvent.
	event(cqe *uring.CQE)
	// filled says that the completion queue was full, if there is a capacity.
	filled()
}

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
	reqEvent                      // the interface queue tells something; no socket's
)

// User data: the kind of request 8 bits, generation 24, slot 32.
const (
	opShift  = 56
	genShift = 32
)

func userData(o opMask, s *socket) uint64 {
	return uint64(o)<<opShift | uint64(s.token.gen)<<genShift | uint64(s.token.slot)
}

func tokenOf(userData uint64) token {
	return token{slot: uint32(userData), gen: uint32(userData>>genShift) & genMask}
}

// openWaker chooses how the thread is woken.
func (r *requests) openWaker() (err error) {
	if !r.l.plain && uring.Have(uring.MsgRingWake) == nil {
		r.waker = r.ring.Waker(uint64(reqWake)<<opShift, 0)
		return nil
	}
	if r.bell, err = newEventfd(); err != nil {
		return err
	}
	r.armBell()
	return nil
}

func (r *requests) armBell() {
	r.push(uring.PollAdd(r.bell.fd, unix.POLLIN, uring.PollMultishot, uint64(reqWake)<<opShift))
}

func (r *requests) wake() {
	if r.waker == nil {
		r.bell.ring()
		return
	}
	for {
		err := r.waker.Wake()
		if err == nil || errors.Is(err, uring.ErrClosed) || errors.Is(err, unix.EOWNERDEAD) {
			return
		}
		// The kernel is short of memory. A wake that is lost is lost for good.
		runtime.Gosched()
	}
}

func (r *requests) busy() bool { return len(r.next) > 0 }

// exchange submits what there is, and waits for timeout if nothing is to be done
// meanwhile.
func (r *requests) exchange(timeout time.Duration) error {
	r.armIdle()
	if err := r.submit(); err != nil {
		return err
	}
	wait := 1
	if timeout == 0 || r.busy() || r.l.unasked() || r.ring.Ready() > 0 || len(r.out) > 0 {
		wait = 0
	}
	return r.enter(wait, timeout)
}

func (r *requests) enter(wait int, timeout time.Duration) error {
	r.l.stats.syscalls.Add(1)
	if _, err := r.ring.Enter(wait, timeout); err != nil && !uring.Busy(err) {
		return err
	}
	r.reaped = 0
	return nil
}

// reap returns completions, none when there are no more. They are the caller's
// until the next call.
func (r *requests) reap() ([]uring.CQE, error) {
	for r.broken == nil {
		if cqes := r.ring.Take(r.cqes[:]); len(cqes) > 0 {
			r.reaped += len(cqes)
			return cqes, nil
		}
		more := r.ring.Overflowing()
		if r.capacity > 0 && (more || r.reaped >= r.capacity) {
			r.recv.filled()
		}
		if !more {
			return nil, nil
		}
		// The kernel has more, and room for it now.
		r.l.stats.overflows.Add(1)
		if err := r.enter(0, 0); err != nil {
			return nil, err
		}
	}
	return nil, r.broken
}

// push queues a request for the next round.
func (r *requests) push(sqe uring.SQE) { r.out = append(r.out, sqe) }

// submit moves requests to the ring; what does not fit is handed to the kernel
// first. What the kernel can't take now waits for the next round.
func (r *requests) submit() error {
	pushed := 0
	for _, sqe := range r.out {
		err := r.ring.Push(sqe)
		if errors.Is(err, uring.ErrQueueFull) {
			r.l.stats.syscalls.Add(1)
			if _, err := r.ring.Submit(); err != nil && !uring.Busy(err) {
				return err
			}
			err = r.ring.Push(sqe)
		}
		if errors.Is(err, uring.ErrQueueFull) {
			break
		}
		if err != nil {
			return err
		}
		pushed++
	}
	r.out = append(r.out[:0], r.out[pushed:]...)
	return nil
}

// breakdown ends the loop: what the kernel says can't be.
func (r *requests) breakdown(err error) {
	if r.broken == nil {
		r.broken = fmt.Errorf("kernel: %w", err)
	}
}

// closeRing gives back the ring and what wakes its thread.
func (r *requests) closeRing() error {
	var errs []error
	if r.ring != nil {
		errs = append(errs, r.ring.Close())
	}
	if r.bell != nil {
		errs = append(errs, r.bell.close())
	}
	return errors.Join(errs...)
}

func (r *requests) request(o opMask, s *socket, sqe uring.SQE) {
	s.ops |= o
	r.push(sqe)
}

func (r *requests) attach(s *socket) error {
	if s.listener != nil {
		r.receive(s)
	}
	return nil
}

func (r *requests) receive(s *socket) {
	switch {
	case s.conn != nil:
		r.armLater(s)
	case s.packet != nil:
		r.enqueue(s)
	default:
		if s.ops&reqAccept == 0 {
			r.request(reqAccept, s, uring.AcceptMultishot(s.fd, userData(reqAccept, s)))
		}
	}
}

// armLater has s armed in the next round.
func (r *requests) armLater(s *socket) {
	if !s.ready && s.ops&(reqRecv|reqPollIn) == 0 && !s.ending {
		s.ready = true
		r.idle = append(r.idle, s)
	}
}

func (r *requests) armIdle() {
	for i, s := range r.idle {
		r.idle[i] = nil
		s.ready = false
		if !s.detaching {
			r.recv.arm(s)
		}
	}
	r.idle = r.idle[:0]
}

func (r *requests) armWrite(s *socket) {
	if s.ops&reqPollOut == 0 {
		r.request(reqPollOut, s, uring.PollAdd(s.fd, unix.POLLOUT, 0, userData(reqPollOut, s)))
	}
}

func (r *requests) detach(s *socket) {
	if s.ops == 0 {
		r.l.detached(s)
		return
	}
	for o := reqRecv; o < reqCancel; o <<= 1 {
		if s.ops&o != 0 {
			r.cancel(o, s)
		}
	}
}

// cancel ends request o of s. By its user data, not by the descriptor: that may
// be another socket's when the kernel comes to look.
func (r *requests) cancel(o opMask, s *socket) {
	r.push(uring.Cancel(userData(o, s), userData(o|reqCancel, s)))
}

// completion handles one completion.
func (r *requests) completion(c *uring.CQE) {
	o := opMask(c.UserData >> opShift)
	switch o {
	case reqWake:
		if r.bell != nil && !c.More() {
			r.armBell()
		}
		return
	case reqEvent:
		r.recv.event(c)
		return
	}
	s := r.l.table.find(tokenOf(c.UserData))
	if s == nil {
		return // a cancellation's own, of a socket that is gone
	}
	if o&reqCancel != 0 {
		r.cancelled(s, o&^reqCancel, c)
		return
	}
	if !c.More() {
		s.ops &^= o
	}
	switch o {
	case reqRecv:
		r.recv.received(s.conn, c)
	case reqAccept:
		r.accepted(s.listener, c)
	case reqPollOut:
		s.notifyWritable()
	case reqPollIn:
		r.readable(s, c)
	}
	if s.detaching && s.ops == 0 {
		r.l.detached(s)
	}
}

// cancelled is the end of a request to cancel request o of s. If o is still in
// the kernel, the cancellation came at a moment when it could not be found.
func (r *requests) cancelled(s *socket, o opMask, c *uring.CQE) {
	if o == reqRecv {
		s.cancelling = false
	}
	if s.detaching && s.ops&o != 0 && c.Res < 0 {
		r.cancel(o, s)
	}
}

func (r *requests) accepted(n *listener, c *uring.CQE) {
	err := c.Err()
	switch {
	case err == nil:
		r.l.stats.frames.Add(1)
		r.l.accepted(n, int(c.Res))
	case ksock.IsConnGone(err):
		r.l.stats.acceptGone.Add(1)
	case err != syscall.ECANCELED:
		r.l.starve(n)
		return
	}
	if !c.More() && !n.detaching {
		r.l.stats.rearmed.Add(1)
		r.receive(&n.socket)
	}
}

// readable notes that s may have something to read.
func (r *requests) readable(s *socket, c *uring.CQE) {
	if s.detaching {
		return
	}
	if s.conn != nil {
		r.armLater(s)
		return
	}
	switch {
	case c.Res < 0:
		r.l.stats.socketErrors.Add(1)
		r.l.starved = append(r.l.starved, s)
	default:
		r.enqueue(s)
	}
}

func (r *requests) enqueue(s *socket) {
	if !s.ready && !s.paused {
		s.ready = true
		r.next = append(r.next, s)
	}
}

// serveReady makes one call for each socket that the loop itself reads from.
func (r *requests) serveReady() {
	r.queue, r.next = r.next, r.queue[:0]
	for i, s := range r.queue {
		r.queue[i] = nil
		s.ready = false
		switch {
		case s.detaching:
		case s.packet == nil:
			r.recv.serve(s)
		default:
			r.serveDatagrams(s)
		}
	}
}

// serveDatagrams makes one call for s. When nothing is left the kernel is asked to tell of
// the next datagram, once: of each that comes while we receive, or let them gather, it
// would tell in vain, and end our sleep.
func (r *requests) serveDatagrams(s *socket) {
	switch r.l.readDatagrams(s) {
	case again:
		r.enqueue(s)
	case drained:
		if s.ops&reqPollIn == 0 && !r.l.gather(s) {
			r.request(reqPollIn, s, uring.PollAdd(s.fd, unix.POLLIN, 0, userData(reqPollIn, s)))
		}
	}
}
