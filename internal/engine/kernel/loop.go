//go:build linux

package kernel

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
)

// A loop is the engine's thread and all that belongs to it.
type loop struct {
	pool    *buf.Pool
	cq      *sockq.CQ
	maxHeld int
	tuning
	back  backend
	stats counters
	// streamEdges: notifyWritable is called for streams without armWrite.
	// Constant once the backend runs.
	streamEdges bool

	// Shared with application goroutines.
	inbox    inbox
	siblings []*loop      // all loops of the engine, if there are several; constant once they run
	placed   atomic.Int32 // with siblings: connections that are this loop's, or are about to be
	asleep   atomic.Bool  // the loop waits or is about to: the loop sets it, who wakes it takes it back
	returned atomic.Bool  // buffers came back since the paused were looked at; set by the pool

	// The thread's own.
	thread  sockq.Thread
	table   table
	dirty   []*socket // something was pushed to their queues
	wakes   moderation
	paused  []*socket // may not receive for want of buffers; oldest first
	gathers []*socket // let datagrams gather
	slice   engine.TimeSlice
	wanting bool // the pool was asked to tell when buffers come back
	// Of paused, from the oldest: how many were looked at since then and go on waiting,
	// and how many are yet to be looked at. The newer ones were paused since.
	looked, unlooked int
	lookAgain        bool      // in the next round, which does not sleep: those that went on may leave buffers
	starved          []*socket // to be tried again after a while
	tails            tails
	stock            []uint16 // allocated buffers, ready to receive into
	vec              *ksock.Vec
	packets          datagramReader
	received         bool // in this round
	stopping         bool
	told             error // why a sibling has ended by itself
	failure          error // why the loop ended by itself, or as told; nil if it was stopped
	closeErr         error // what the backend could not undo; read after the loop has ended
	// alloc is held where the pool is for one thread at a time (package buf: "engine
	// only"); nil if there is but one.
	alloc *sync.Mutex

	broke atomic.Pointer[error] // failure, for any goroutine
}

func newLoop(cfg engine.Config, t tuning) *loop {
	l := &loop{pool: cfg.Pool, cq: cfg.CQ, maxHeld: cfg.MaxHeld, tuning: t}
	l.tails.max = t.tails
	l.slice.Yield = t.yield
	l.stock = make([]uint16, 0, max(t.perCall, t.messages*t.perMsg))
	l.vec = ksock.NewVec(t.perCall + 1)
	l.packets.init(t)
	l.cq.OnKick(l.wake)
	l.pool.OnReturn(func() {
		l.returned.Store(true)
		l.wake()
	})
	return l
}

// run opens the backend and serves until told to stop. The thread is not given
// back to Go: it ends with the goroutine, as the ring's issuer has to.
func (l *loop) run(open func() error) {
	runtime.LockOSThread()
	l.thread = sockq.CurrentThread()
	if open() != nil {
		l.inbox.close()
		return
	}
	for !l.stopping || l.table.used > 0 {
		l.runCommands()
		if l.told != nil {
			l.fail(l.told)
			break
		}
		l.resumePaused()
		l.resumeGathered()
		if err := l.round(); err != nil {
			l.fail(err)
			break
		}
		l.publish()
	}
	l.finish()
}

// round waits for the backend if there is nothing else to do.
func (l *loop) round() error {
	l.received = false
	timeout := l.patience()
	if timeout != 0 {
		l.asleep.Store(true)
		// Look again: who posted, returned buffers or raised something for the
		// handler before it could see the flag did not wake us.
		if !l.inbox.empty() || l.returned.Load() || l.cq.Ready() {
			timeout = 0
		}
	}
	if timeout != 0 {
		l.wakes.all()
		l.slice.Renew(mono.Now())
	}
	err := l.back.round(timeout)
	if l.asleep.Load() {
		l.asleep.Store(false)
	}
	if timeout != 0 {
		l.stats.wakes.Add(1)
		l.retryStarved()
	}
	if l.received {
		l.stats.batches.Add(1)
	}
	return err
}

// patience is how long the next round may wait.
func (l *loop) patience() time.Duration {
	switch {
	case l.back.busy(), l.lookAgain, l.stopping && l.table.used == 0:
		return 0
	}
	wait := l.gatherPatience()
	if len(l.starved) > 0 && (wait < 0 || wait > retryAfter) {
		wait = retryAfter
	}
	return wait
}

// wake makes the loop look at what was posted. Any goroutine.
func (l *loop) wake() {
	if l.asleep.Load() && l.asleep.Swap(false) {
		l.back.wake()
	}
}

// touch notes that s's queue has something to publish.
func (l *loop) touch(s *socket) {
	l.received = true
	if !s.dirty {
		s.dirty = true
		l.dirty = append(l.dirty, s)
	}
}

// publish shows the application what this round brought.
func (l *loop) publish() {
	for i, s := range l.dirty {
		s.dirty = false
		if s.conn != nil {
			s.conn.queue.Publish()
		} else {
			s.packet.queue.PublishTo(&l.wakes.Wakes)
		}
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
	l.wakes.busy()
	l.cq.Flush()
	l.cq.Dispatch(l.thread)
}

// watch begins to serve s.
func (l *loop) watch(s *socket) error {
	if l.stopping {
		return l.ended()
	}
	l.table.add(s)
	if err := l.back.attach(s); err != nil {
		l.table.remove(s)
		return err
	}
	if s.conn != nil {
		l.stats.conns.Add(1)
	}
	if s.packet != nil {
		l.stats.openPackets(s.packet)
		l.back.receive(s)
	}
	return nil
}

// detach begins to let go of s.
func (l *loop) detach(s *socket) {
	if !s.detaching {
		s.detaching = true
		l.back.detach(s)
	}
}

// detached is called by the backend when nothing of s is in the kernel any
// more.
func (l *loop) detached(s *socket) {
	l.table.remove(s)
	l.closeTail(s)
	if s.conn != nil {
		l.unplace()
		l.stats.conns.Add(-1)
		s.conn.unread = s.conn.queue.Drain()
		l.stats.unreadBytes.Add(uint64(s.conn.unread))
	}
	if s.packet != nil {
		l.stats.closePackets(s.packet)
		l.stats.unread.Add(uint64(s.packet.queue.Drain()))
	}
	if s.resetting {
		// An error would be of a descriptor that is gone already.
		_ = s.sock.Reset()
	}
	close(s.gone)
	s.farewell()
}

// stop closes everything.
func (l *loop) stop() {
	l.stopping = true
	for _, s := range l.table.slots {
		if s != nil {
			l.abort(s)
		}
	}
}

// abort closes s as the engine's end does: the application, if it has not begun
// to close s itself, finds it closed, or ended by the loop's failure.
func (l *loop) abort(s *socket) {
	if !s.closed.Swap(true) {
		s.resetting = true
		s.broke.Store(l.broke.Load())
	}
	s.writer.Close()
	switch why := l.failure; {
	case s.conn != nil && why != nil:
		l.stats.unreadBytes.Add(uint64(s.conn.queue.Abort(why)))
	case s.conn != nil:
		s.conn.queue.Close()
	case s.packet != nil && why != nil:
		l.stats.unread.Add(uint64(s.packet.queue.Abort(why)))
	case s.packet != nil:
		s.packet.queue.Close()
	case why != nil:
		s.listener.backlog.Abort(why)
	default:
		s.listener.backlog.Close()
	}
	l.detach(s)
}

// ended is why the loop takes nothing any more: it was closed, or it has failed. Any
// goroutine.
func (l *loop) ended() error {
	if why := l.broke.Load(); why != nil {
		return *why
	}
	return net.ErrClosed
}

// fail gives everything up after an error that no call can be made after.
func (l *loop) fail(err error) {
	l.failure = err
	l.broke.Store(&err)
	if l.told == nil {
		l.tellSiblings(err)
	}
	l.stop()
	for _, s := range l.table.slots {
		if s != nil {
			l.detached(s)
		}
	}
	l.cq.Fail(err)
}

// finish ends the loop. Nothing is attached.
func (l *loop) finish() {
	l.wakes.Stop()
	for _, c := range l.inbox.close() {
		switch c.op {
		case opAttach:
			c.reply <- l.ended()
		case opAdopt:
			l.turnAway(c.s)
		}
		// Who waits for opDetach waits for the socket's gone, which is closed.
	}
	l.closeErr = l.back.close()
	l.putStock()
	l.cq.Flush()
}
