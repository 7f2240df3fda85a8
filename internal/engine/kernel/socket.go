//go:build linux

package kernel

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/park"
)

// A socket is what the loop knows of one kernel socket. It is part of a conn, a
// listener or a packetConn, whichever pointer is set.
type socket struct {
	l    *loop
	sock *ksock.Socket
	fd   int   // of sock, for the loop, which lets go of it before sock is closed
	flow *flow // what was steered to the queue for it; whoever closes sock drops it

	conn     *conn
	listener *listener
	packet   *packetConn

	// The writing side: application goroutines, which take turns by wmu.
	wmu      sync.Mutex
	writer   park.Parker
	writable atomic.Bool // false: the last attempt found no space; the loop sets it

	closed atomic.Bool   // somebody has begun to close it: that one closes sock
	gone   chan struct{} // closed by the loop when it has let go
	// leaving is what the loop does then in the place of a handler, which must not wait.
	// Who takes it does it.
	leaving atomic.Pointer[func() error]
	lingers atomic.Bool // closing sock may block: SetLinger

	// broke is why the loop has closed it, if that failed before the application closed
	// it; the loop sets it before it closes writer.
	broke atomic.Pointer[error]

	account buf.Account // buffers held: the loop charges, whoever frees them settles

	// The loop's own.
	token      token
	ending     bool // no more to receive: the stream has ended
	detaching  bool
	paused     bool // in loop.paused
	dirty      bool // in loop.dirty
	resetting  bool // the loop closes sock itself, with a reset
	tail       tail
	ops        opMask  // requests in the kernel (uring)
	ready      bool    // in the backend's list of sockets to receive from
	receiving  bool    // receive was called: events of readiness count
	erred      bool    // the last call for datagrams failed
	single     bool    // the request for payload is not multishot (uring)
	cancelling bool    // it was asked to end (uring)
	hangup     bool    // nothing will follow what waits in the kernel (readv)
	zc         zcState // zcrx
	burst      int     // datagrams to ask for in the next call
}

func (s *socket) init(l *loop, sock *ksock.Socket) {
	s.l, s.sock, s.fd = l, sock, sock.FD()
	s.gone = make(chan struct{})
	s.burst = minBurst
	s.writable.Store(true)
	s.writer.Init(s.writable.Load)
}

// notifyWritable lets the writer, or whoever dials, try again.
func (s *socket) notifyWritable() {
	s.writable.Store(true)
	s.writer.Unpark()
}

// SetWriteDeadline implements engine.Conn and engine.PacketConn.
func (s *socket) SetWriteDeadline(t time.Time) { s.writer.SetDeadline(t) }

// release makes the loop let go of s, and then calls finish, which closes s.sock, and
// returns its error; nil if somebody else closes s, or has. In the completion queue's
// handler it does not wait: the loop calls finish.
func (s *socket) release(finish func() error) error {
	if s.closed.Swap(true) {
		s.broke.Store(nil) // from now on it is closed, as was asked
		return nil
	}
	s.writer.Close()
	handling := s.l.cq.Handling()
	if handling {
		s.leaving.Store(&finish)
	}
	// A loop that has stopped takes no commands, and has let go of everything.
	s.l.post(command{op: opDetach, s: s})
	if !handling {
		<-s.gone
		return finish()
	}
	select {
	case <-s.gone: // perhaps without having seen leaving
		s.farewell()
	default:
	}
	return nil
}

// farewell does what is left of a close that did not wait. The loop has let go of s.
func (s *socket) farewell() {
	finish := s.leaving.Swap(nil)
	switch {
	case finish == nil:
	case s.lingers.Load() || s.flow != nil:
		// It may block: in close(2), or for the NIC to forget the flow.
		go func() { _ = (*finish)() }()
	default:
		// An error would be of a descriptor that is gone already.
		_ = (*finish)()
	}
}

// explain is err, as a call that failed with it has to report it: what was closed because
// the loop failed says so.
func (s *socket) explain(err error) error {
	if why := s.broke.Load(); why != nil && errors.Is(err, net.ErrClosed) {
		return *why
	}
	return err
}

// token names a socket to the kernel: its slot in the loop's table, and which
// use of the slot this is, so that an event which was on its way when the socket
// was closed does not concern the slot's next user.
type token struct {
	slot uint32
	gen  uint32 // 24 bits
}

const genMask = 1<<24 - 1

// table finds sockets by their tokens. The loop's.
type table struct {
	slots []*socket
	gens  []uint32
	free  []uint32
	used  int
}

func (t *table) add(s *socket) {
	if len(t.free) == 0 {
		t.free = append(t.free, uint32(len(t.slots)))
		t.slots = append(t.slots, nil)
		t.gens = append(t.gens, 0)
	}
	last := len(t.free) - 1
	slot := t.free[last]
	t.free = t.free[:last]
	t.slots[slot] = s
	t.used++
	s.token = token{slot: slot, gen: t.gens[slot]}
}

func (t *table) remove(s *socket) {
	slot := s.token.slot
	t.slots[slot] = nil
	t.gens[slot] = (t.gens[slot] + 1) & genMask
	t.free = append(t.free, slot)
	t.used--
}

// find is the socket of k, nil if it is not there any more.
func (t *table) find(k token) *socket {
	if int(k.slot) >= len(t.slots) || t.gens[k.slot] != k.gen {
		return nil
	}
	return t.slots[k.slot]
}
