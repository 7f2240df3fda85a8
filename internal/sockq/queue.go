package sockq

import (
	"net"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/interleave/sync"
	"github.com/zctap/zctap/internal/owned"
	"github.com/zctap/zctap/internal/prefetch"
	"github.com/zctap/zctap/internal/reuse"
)

var fragChunks reuse.Pool[chunk[buf.Frag]]

// A Queue is the receive queue of one stream socket: payload in order, then one
// end.
//
// What a batch needs is in four cache lines: what the producer writes, what the consumer
// writes, and in the latter and the one behind it the frags; with the consumer's other
// half at the end. With thousands of connections each of them is a miss.
type Queue struct {
	// Line 0: seldom used, but for the CQ, with which the next line begins.
	ending error       // what End was told; producer
	quit   atomic.Bool // no consumer will touch the queue any more
	Source

	// Line 1: the producer's, with the first part of frags.
	pool    *buf.Pool
	end     atomic.Pointer[error] // why nothing will follow; producer, once, in Publish
	inBytes atomic.Uint64         // bytes published; producer
	pushed  uint64                // bytes pushed; producer

	// Line 2: the consumer's, and the first frags; those that follow to line 6.
	frags fifo[buf.Frag]

	_ [8]byte

	// Line 7: the consumer's.
	mu       sync.Mutex    // consumers
	used     int           // bytes already taken of the oldest frag; consumer
	outBytes atomic.Uint64 // bytes taken; consumer
	sleeper
}

// NewQueue makes the queue of a connection whose payload lies in p's region.
func NewQueue(p *buf.Pool) *Queue {
	q := &Queue{pool: p}
	q.frags.init(&fragChunks)
	q.Init(q.ready)
	return q
}

// Push appends payload; the queue takes over the kernel reference that f stands
// for. Not seen by the consumer before Publish. Producer only.
func (q *Queue) Push(f buf.Frag) {
	if f.Len() == 0 {
		q.pool.Put(f.Buffer())
		return
	}
	q.pushed += uint64(f.Len()) // first: see PushAll
	q.frags.push(f)
}

// PushAll is Push for frags of together n bytes, none of them empty.
func (q *Queue) PushAll(frags []buf.Frag, n int) {
	// First, so that q was used before the address of a field is taken: or the compiler
	// would look whether q is nil, by a load of line 0, which nobody else needs.
	q.pushed += uint64(n)
	q.frags.pushAll(frags)
}

// End says that nothing follows: io.EOF for an orderly end, or the error. The
// consumer learns of it after all payload. Calls after the first change
// nothing. Producer only; Publish shows it.
func (q *Queue) End(err error) {
	if q.ending == nil {
		q.ending = err
	}
}

// Ended reports whether the end was published.
func (q *Queue) Ended() bool { return q.end.Load() != nil }

// ready reports whether Poll has something to give.
func (q *Queue) ready() bool { return q.frags.len() > 0 || q.Ended() }

// Publish shows what was pushed to the consumer: it wakes one that blocks on
// the queue, or raises the queue on the CQ that it is armed on (which the
// engine flushes once a batch). Once a batch, producer only.
func (q *Queue) Publish() { q.PublishTo(nil) }

// PublishTo is Publish, but leaves it to w to wake a consumer that blocks.
func (q *Queue) PublishTo(w *Wakes) {
	owned.Store(&q.inBytes, q.inBytes.Load(), q.pushed) // the producer's; publish is atomic
	q.frags.publish()
	// After the payload: a consumer that sees the end sees all of it.
	if q.ending != nil && !q.Ended() {
		q.end.Store(&q.ending)
	}
	if q.Armed() {
		q.Raise()
	}
	if q.Waiting() { // add looks, too: here it saves the call
		w.add(&q.sleeper)
	}
}

// Prefetch begins to load what a batch with so many frags will need. Producer only.
func (q *Queue) Prefetch(frags int) {
	prefetch.Lines(q, producerLine, linesFor(frags))
	prefetch.Lines(q, consumerLine, 1)
}

// The lines of a Queue where the producer's words begin, and the rest of the consumer's.
const producerLine, consumerLine = 1, 7

// linesFor is how many cache lines n frags need, from producerLine on, if they begin at the first
// slot: of the four in a line one lies in line 2.
func linesFor(n int) int { return 2 + (min(n, ownLen)+2)/4 }

// Buffered is the number of bytes that a consumer could take now.
func (q *Queue) Buffered() int {
	out := q.outBytes.Load() // first, so that it is never beyond inBytes
	return int(q.inBytes.Load() - out)
}

// Taken is the number of bytes ever taken.
func (q *Queue) Taken() uint64 { return q.outBytes.Load() }

// Frags is the number of frags waiting, the partly taken one included.
func (q *Queue) Frags() int { return q.frags.len() }

// Recv waits until there is payload and takes it: up to len(dst) iovs of
// together at most limit bytes. Each iov is one user reference of the caller's.
// The error comes only when there is no payload left: io.EOF or what End said,
// then every time; os.ErrDeadlineExceeded; net.ErrClosed; EINVAL for no room
// (an empty dst or a limit under 1 would look like an end); EBUSY while armed.
func (q *Queue) Recv(dst []buf.Iov, limit int) (int, error) {
	if len(dst) == 0 || limit < 1 {
		return 0, syscall.EINVAL
	}
	q.mu.Lock()
	defer q.leave(&q.mu, q.ready)
	if err := q.wait(); err != nil {
		return 0, err
	}
	n, _, err := q.pop(dst, limit)
	return n, err
}

// Poll takes what there is without waiting: the consumer of a CQ does so when
// the queue was raised. bytes is the payload taken; more says that some is
// left, or the end is. With no payload left, err is the end, or nil if there is
// none yet. It does not wait for who blocks in Recv, either: that one raises the queue
// again if it leaves something.
func (q *Queue) Poll(dst []buf.Iov, limit int) (n, bytes int, more bool, err error) {
	if !q.mu.TryLock() {
		return 0, 0, false, nil
	}
	// Not deferred, which costs as much as all that is done here for a burst.
	if q.Closed() {
		err = net.ErrClosed
	} else {
		n, bytes, err = q.pop(dst, limit)
		// The end counts as more only behind payload: alone it was in err.
		more = q.frags.len() > 0 || n > 0 && q.Ended()
	}
	q.mu.Unlock()
	return n, bytes, more, err
}

// Read waits until there is payload and copies it to p.
func (q *Queue) Read(p []byte) (n int, err error) {
	q.mu.Lock()
	defer q.leave(&q.mu, q.ready)
	if len(p) == 0 {
		return 0, nil
	}
	if err := q.wait(); err != nil {
		return 0, err
	}
	for n < len(p) {
		f := q.frags.peek()
		if f == nil {
			break
		}
		rest := f.Slice(q.used, f.Len())
		k := copy(p[n:], q.pool.Region().View(rest))
		n += k
		if q.used += k; k == rest.Len() {
			q.pool.Put(rest.Buffer())
			q.used = 0
			q.frags.drop()
		}
	}
	q.settle(n)
	if n == 0 {
		return 0, *q.end.Load()
	}
	q.emptied()
	return n, nil
}

// wait returns when there is payload or an end; the caller holds mu.
func (q *Queue) wait() error {
	if q.Armed() {
		return errArmed
	}
	return q.Park()
}

// pop takes payload; the caller holds mu.
func (q *Queue) pop(dst []buf.Iov, limit int) (n, bytes int, err error) {
	// The end first: payload is published before it.
	end := q.end.Load()
	for n < len(dst) && bytes < limit && err == nil {
		run := q.frags.run()
		if len(run) == 0 {
			break
		}
		var k, size int
		k, size, err = q.hand(run, dst[n:], limit-bytes)
		n += k
		bytes += size
		if q.frags.reached() {
			break // what was published since is for the next call
		}
	}
	q.settle(bytes)
	if n > 0 {
		q.emptied()
		return n, bytes, nil
	}
	if err == nil && end != nil && q.frags.len() == 0 {
		err = *end
	}
	return 0, 0, err
}

// settle tells the others that n more bytes were taken; the caller holds mu.
func (q *Queue) settle(n int) {
	out := q.outBytes.Load()
	owned.Store(&q.outBytes, out, out+uint64(n)) // the consumer's; settle of frags is atomic
	q.frags.settle()
}

// emptied tells the pool if nothing is left. Buffered says so by now.
func (q *Queue) emptied() {
	if q.frags.len() == 0 {
		q.pool.Emptied()
	}
}

// hand gives of run to dst, as much as both and limit allow, and drops it.
func (q *Queue) hand(run []buf.Frag, dst []buf.Iov, limit int) (n, bytes int, err error) {
	if q.used > 0 || run[0].Len() > limit {
		return q.handPart(&run[0], &dst[0], limit)
	}
	n, bytes, err = q.pool.HandOverAll(run[:min(len(run), len(dst))], dst, limit)
	q.frags.dropN(n)
	return n, bytes, err
}

// handPart gives to v what is left of f, as far as limit allows.
func (q *Queue) handPart(f *buf.Frag, v *buf.Iov, limit int) (n, bytes int, err error) {
	rest := f.Slice(q.used, f.Len())
	if rest.Len() > limit {
		// Resumed in mid-fragment next time: the queue keeps its reference.
		if err := q.pool.GiveUser(rest.Slice(0, limit), v); err != nil {
			return 0, 0, err
		}
		q.used += limit
		return 1, limit, nil
	}
	if err := q.pool.HandOver(rest, v); err != nil {
		return 0, 0, err
	}
	q.used = 0
	q.frags.drop()
	return 1, rest.Len(), nil
}

// Close ends the consumer's side: whoever waits or comes later gets
// net.ErrClosed. When it returns no consumer touches the queue any more, so
// that the engine can Drain it.
func (q *Queue) Close() {
	q.Parker.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.Disarm()
	q.quit.Store(true)
}

// Abort ends q with err, as an engine that has failed does, and drops the payload
// that was not taken: its length in bytes is returned. Whoever waits, or comes
// later, and whoever armed q is told. Producer only.
func (q *Queue) Abort(err error) (dropped int) {
	q.End(err)
	q.Publish()
	q.mu.Lock() // a consumer that waited with it was woken
	defer q.leave(&q.mu, q.ready)
	return q.drain()
}

// Drain drops the payload that nobody will take, pushed or published, and
// returns its length in bytes. Producer only. Before Close has returned it does
// nothing: a consumer may still be at it.
func (q *Queue) Drain() (dropped int) {
	if !q.quit.Load() {
		return 0
	}
	return q.drain()
}

// drain is Drain; no consumer is at it.
func (q *Queue) drain() (dropped int) {
	q.frags.publish()
	q.inBytes.Store(q.pushed)
	for f := q.frags.peek(); f != nil; f = q.frags.peek() {
		dropped += f.Len() - q.used
		q.used = 0
		q.pool.Put(f.Buffer())
		q.frags.drop()
	}
	q.frags.settle()
	q.outBytes.Store(q.pushed)
	return dropped
}
