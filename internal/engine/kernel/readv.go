//go:build linux

package kernel

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/ksock"
)

const (
	// epollEvents is how many events one wait returns at most.
	epollEvents = 128
	// acceptsPerRound bounds the connections that a listener accepts before it is
	// another socket's turn.
	acceptsPerRound = 32
)

// readv is the backend for kernels without a usable io_uring: epoll, edge
// triggered, and one non-blocking call for each socket in turn that may have
// something. Pausing is to leave a socket out of the turns, which costs no
// system call.
type readv struct {
	l     *loop
	epfd  int
	bell  *eventfd
	queue []*socket // to receive from, in turn
	next  []*socket // of the next round
	evs   [epollEvents]unix.EpollEvent
}

func openReadv(l *loop) (backend, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	r := &readv{l: l, epfd: epfd}
	if r.bell, err = newEventfd(); err != nil {
		unix.Close(epfd)
		return nil, err
	}
	if err := r.control(unix.EPOLL_CTL_ADD, r.bell.fd, unix.EPOLLIN|unix.EPOLLET, bellToken); err != nil {
		return nil, errors.Join(err, r.close())
	}
	l.streamEdges = true
	return r, nil
}

// bellToken is no socket's: its generation is wider than theirs.
var bellToken = token{gen: genMask + 1}

func (r *readv) control(op, fd int, events uint32, t token) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(t.slot), Pad: int32(t.gen)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(r.epfd, op, fd, &ev))
}

// Of a stream epoll tells of space to write only when a send has found none,
// of a UDP socket each time that a datagram has left: there it is asked for
// when needed.
const (
	streamEvents   = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	datagramEvents = unix.EPOLLIN | unix.EPOLLET
	listenerEvents = unix.EPOLLIN | unix.EPOLLET
)

func (r *readv) attach(s *socket) error {
	events := uint32(streamEvents)
	switch {
	case s.packet != nil:
		events = datagramEvents
	case s.listener != nil:
		s.receiving = true
		// accept(2) takes no MSG_DONTWAIT.
		if err := s.sock.SetNonblock(true); err != nil {
			return err
		}
		events = listenerEvents
	}
	return r.control(unix.EPOLL_CTL_ADD, s.fd, events, s.token)
}

// receive has the socket looked at in the next round, whether epoll has said
// anything or not: what came while it was paused was told then.
func (r *readv) receive(s *socket) {
	s.receiving = true
	r.enqueue(s)
}

func (r *readv) enqueue(s *socket) {
	if !s.ready && !s.paused {
		s.ready = true
		r.next = append(r.next, s)
	}
}

func (r *readv) armWrite(s *socket) {
	if s.packet != nil {
		r.modifyPacket(s, datagramEvents|unix.EPOLLOUT)
	}
}

// modifyPacket changes what epoll tells of a UDP socket. epoll tells at once of
// what holds at this moment.
func (r *readv) modifyPacket(s *socket, events uint32) {
	if r.control(unix.EPOLL_CTL_MOD, s.fd, events, s.token) != nil {
		// Out of memory in the kernel: let the writer try again.
		s.notifyWritable()
	}
}

func (r *readv) detach(s *socket) {
	// Fails only for a descriptor that epoll does not know.
	_ = r.control(unix.EPOLL_CTL_DEL, s.fd, 0, s.token)
	r.l.detached(s)
}

// credit is what limit.go says: the loop allocates each buffer.
func (r *readv) credit(s *socket) int { return r.l.credit(s) }

func (r *readv) ready() int { return r.l.pool.Free() + len(r.l.stock) }

// collect has nothing to do: buffers that come back are the pool's.
func (r *readv) collect() {}

func (r *readv) hungry() bool { return false }
func (r *readv) busy() bool   { return len(r.next) > 0 }
func (r *readv) wake()        { r.bell.ring() }

func (r *readv) close() error {
	return errors.Join(r.bell.close(), os.NewSyscallError("close", unix.Close(r.epfd)))
}

func (r *readv) round(timeout time.Duration) error {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(r.epfd, r.evs[:], ms)
	r.l.stats.syscalls.Add(1)
	if err != nil && err != unix.EINTR {
		return os.NewSyscallError("epoll_wait", err)
	}
	for i := range max(n, 0) {
		r.event(&r.evs[i])
	}
	r.queue, r.next = r.next, r.queue[:0]
	for i, s := range r.queue {
		r.queue[i] = nil
		s.ready = false
		if !s.detaching {
			r.serve(s)
		}
	}
	return nil
}

func (r *readv) event(ev *unix.EpollEvent) {
	s := r.l.table.find(token{slot: uint32(ev.Fd), gen: uint32(ev.Pad)})
	if s == nil {
		return // the bell, or closed in this round
	}
	const ended = unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDHUP
	if ev.Events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.notifyWritable()
		if s.packet != nil && ev.Events&unix.EPOLLOUT != 0 {
			r.modifyPacket(s, datagramEvents)
		}
	}
	if ev.Events&(unix.EPOLLIN|ended) != 0 && !s.ending {
		s.hangup = s.hangup || ev.Events&ended != 0
		if s.receiving {
			r.enqueue(s)
		}
	}
}

// serve makes one call for s, or a few, and gives it another turn if there may
// be more.
func (r *readv) serve(s *socket) {
	more := false
	switch {
	case s.conn != nil:
		more = r.l.readStream(s.conn)
	case s.packet != nil:
		more = r.l.readDatagrams(s) == again
	default:
		more = r.accept(s.listener)
	}
	if more {
		r.enqueue(s)
	}
}

// accept reports whether more connections may wait.
func (r *readv) accept(n *listener) (more bool) {
	for range acceptsPerRound {
		fd, err := n.sock.Accept()
		r.l.stats.syscalls.Add(1)
		switch {
		case err == nil:
			r.l.accepted(n, fd)
		case ksock.IsConnGone(err):
			r.l.stats.acceptGone.Add(1)
		case ksock.IsWouldBlock(err):
			return false
		default:
			r.l.starve(n)
			return false
		}
	}
	return true
}
