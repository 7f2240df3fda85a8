//go:build linux

package uringtest

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

// request is one that waits for its descriptor.
type request struct {
	sqe    uring.SQE
	events int16  // that it waits for
	left   uint32 // RecvZC: credit; 0 is no limit
	ifq    *ifq
	dry    bool // RecvZC: there is payload and no buffer for it
	done   bool

	woken   bool // RecvZC: the socket did, it is not the first try
	stalled bool // RecvZC: waits for more than unread bytes
	unread  int
}

// stallRetry is how often a receive that found no buffer of the NIC's looks again.
const stallRetry = time.Millisecond

// skbsPerIssue bounds what one receive takes in a round, so that others get their turn.
const skbsPerIssue = 20

// issue starts one request.
func (k *Kernel) issue(sqe uring.SQE) {
	if k.o.Fault != nil {
		if errno := k.o.Fault(sqe); errno != 0 {
			k.finish(sqe.UserData, -int32(errno))
			return
		}
	}
	switch sqe.Opcode {
	case uring.OpNop:
		k.finish(sqe.UserData, 0)
	case uring.OpShutdown:
		k.finish(sqe.UserData, result(0, unix.Shutdown(int(sqe.FD), int(sqe.Len))))
	case uring.OpClose:
		k.finish(sqe.UserData, result(0, unix.Close(int(sqe.FD))))
	case uring.OpAsyncCancel:
		k.cancel(sqe)
	case uring.OpPollRemove:
		k.finish(sqe.UserData, k.cancelFirst(func(r *request) bool {
			return r.sqe.Opcode == uring.OpPollAdd && r.sqe.UserData == sqe.Addr
		}))
	case uring.OpPollAdd:
		k.start(&request{sqe: sqe, events: pollMask(sqe.OpFlags)})
	case uring.OpAccept:
		k.start(&request{sqe: sqe, events: unix.POLLIN})
	case uring.OpRecvZC:
		k.startRecv(sqe)
	default:
		k.finish(sqe.UserData, -int32(unix.EINVAL))
	}
}

// start tries a request once, unless it waits to be polled first.
func (k *Kernel) start(r *request) {
	k.reqs = append(k.reqs, r)
	if r.sqe.Opcode == uring.OpRecvZC && r.sqe.IOPrio&uring.RecvSendPollFirst != 0 {
		return
	}
	fds := []unix.PollFd{{Fd: r.sqe.FD, Events: r.events}}
	if n, err := unix.Poll(fds, 0); err == nil && n == 1 {
		k.ready(r, fds[0].Revents)
		k.sweep()
	}
}

// startRecv starts a RecvZC, after the kernel's checks.
func (k *Kernel) startRecv(sqe uring.SQE) {
	errno := unix.Errno(0)
	switch {
	case sqe.Addr != 0 || sqe.Off != 0 || sqe.Addr3 != 0 || sqe.OpFlags != 0,
		int(sqe.FileIndex) >= len(k.ifqs),
		sqe.IOPrio&^uring.RecvSendPollFirst != uring.RecvMultishotFlag:
		errno = unix.EINVAL
	default:
		if proto, err := unix.GetsockoptInt(int(sqe.FD), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil {
			errno, _ = err.(unix.Errno) // EBADF, ENOTSOCK
		} else if proto != unix.IPPROTO_TCP {
			errno = unix.EPROTONOSUPPORT
		}
	}
	if errno != 0 {
		k.finish(sqe.UserData, -int32(errno))
		return
	}
	k.start(&request{sqe: sqe, events: unix.POLLIN, left: sqe.Len, ifq: k.ifqs[sqe.FileIndex]})
}

// serve waits until a request is ready or another thread posts, and handles what is. timeout is as with Enter.
func (k *Kernel) serve(timeout time.Duration) error {
	k.polls = append(k.polls[:0], unix.PollFd{Fd: int32(k.remote.efd), Events: unix.POLLIN})
	for _, r := range k.reqs {
		p := unix.PollFd{Fd: r.sqe.FD, Events: r.events}
		if r.dry || r.stalled { // readable all the time
			p.Events = unix.POLLRDHUP
			if timeout < 0 || timeout > stallRetry {
				timeout = stallRetry
			}
		}
		k.polls = append(k.polls, p)
	}
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	if _, err := unix.Poll(k.polls, ms); err != nil && err != unix.EINTR {
		return err
	}
	if k.polls[0].Revents != 0 {
		for _, c := range k.remote.take() {
			k.cq.post(c)
		}
	}
	waiting := slices.Clone(k.reqs) // a request that is ready may not change the order of the others
	for i, r := range waiting {
		if revents := k.polls[i+1].Revents; !r.done && (revents != 0 || r.dry || r.stalled && r.inqueue() > r.unread) {
			r.woken = true
			k.ready(r, revents)
		}
	}
	k.sweep()
	k.cq.refill()
	return nil
}

// inqueue returns how much the socket has.
func (r *request) inqueue() int {
	n, err := unix.IoctlGetInt(int(r.sqe.FD), unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// ready handles a request whose descriptor is.
func (k *Kernel) ready(r *request, revents int16) {
	if revents&unix.POLLNVAL != 0 {
		k.end(r, -int32(unix.EBADF))
		return
	}
	switch r.sqe.Opcode {
	case uring.OpPollAdd:
		multi := r.sqe.Len&uint32(uring.PollMultishot) != 0
		k.multi(r, multi, int32(revents))
	case uring.OpAccept:
		fd, _, err := unix.Accept4(int(r.sqe.FD), unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN {
			return
		}
		multi := r.sqe.IOPrio != 0 && err == nil
		k.multi(r, multi, result(fd, err))
	case uring.OpRecvZC:
		k.receive(r)
	}
}

// multi completes a request that may live on: if the queue is full it ends.
func (k *Kernel) multi(r *request, lives bool, res int32) {
	if lives && k.cq.tryPost(uring.CQE{UserData: r.sqe.UserData, Res: res, Flags: uring.CQEMore}) {
		return
	}
	if lives {
		k.overflows.Add(1)
	}
	k.end(r, res)
}

// end completes a request for the last time.
func (k *Kernel) end(r *request, res int32) {
	r.done = true
	k.finish(r.sqe.UserData, res)
}

func (k *Kernel) finish(userData uint64, res int32) {
	if k.cq.ready() >= k.cq.size {
		k.overflows.Add(1)
	}
	k.cq.post(uring.CQE{UserData: userData, Res: res})
}

// sweep forgets the requests that ended.
func (k *Kernel) sweep() {
	k.reqs = slices.DeleteFunc(k.reqs, func(r *request) bool { return r.done })
}

// The flags of OpAsyncCancel (linux/io_uring.h).
const (
	cancelAll = 1 << 0
	cancelFD  = 1 << 1
	cancelAny = 1 << 2
)

func (k *Kernel) cancel(sqe uring.SQE) {
	if sqe.OpFlags&(cancelFD|cancelAny) == 0 {
		k.finish(sqe.UserData, k.cancelFirst(func(r *request) bool { return r.sqe.UserData == sqe.Addr }))
		return
	}
	n := int32(0)
	for _, r := range k.reqs {
		if sqe.OpFlags&cancelAny != 0 || r.sqe.FD == sqe.FD {
			k.end(r, -int32(unix.ECANCELED))
			n++
		}
	}
	k.sweep()
	k.finish(sqe.UserData, n)
}

func (k *Kernel) cancelFirst(match func(*request) bool) int32 {
	i := slices.IndexFunc(k.reqs, match)
	if i < 0 {
		return -int32(unix.ENOENT)
	}
	k.end(k.reqs[i], -int32(unix.ECANCELED))
	k.sweep()
	return 0
}

// result is what a system call returns, as a completion has it.
func result(n int, err error) int32 {
	if err == nil {
		return int32(n)
	}
	if errno, ok := err.(unix.Errno); ok {
		return -int32(errno)
	}
	return -int32(unix.EIO)
}

// pollMask undoes what uring.PollAdd does to the events on big-endian machines.
func pollMask(events uint32) int16 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		events = events<<16 | events>>16
	}
	return int16(events)
}
