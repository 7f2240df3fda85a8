package sockq

import (
	"net"
	"net/netip"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/interleave/sync"
	"github.com/zctap/zctap/internal/reuse"
)

// A Message is what comes with one datagram.
type Message struct {
	Src, Dst netip.AddrPort
	// UnixNano is when it arrived, in nanoseconds of the machine's wall clock
	// since 1970.
	UnixNano int64
	// Iovs is the number of iovs of the datagram: as it was queued before
	// Recv, as it was handed out after.
	Iovs int
	// Len is the datagram's length in bytes, also of what was cut off.
	Len int
	// TrafficClass is the TOS octet of IPv4, and IPv6's traffic class.
	TrafficClass uint8
	// Truncated: the datagram did not fit, and its tail is lost. The engine sets
	// it when it could not receive all, Recv when dst has too few iovs.
	Truncated bool
}

var messageChunks reuse.Pool[chunk[Message]]

// Datagrams is the receive queue of one UDP socket. Boundaries are kept: a
// datagram is handed out whole or, explicitly, truncated (invariant 18).
type Datagrams struct {
	Source
	frags fifo[buf.Frag] // each published before its message
	msgs  fifo[Message]
	sleeper
	pool *buf.Pool

	// failure is an errno for the application, once; 0: none. The producer sets it,
	// whoever tells it takes it back.
	failure atomic.Uint32
	end     atomic.Pointer[error] // what Abort was told; producer

	mu sync.Mutex // consumers
}

// NewDatagrams makes the queue of a UDP socket whose payload lies in p's region.
func NewDatagrams(p *buf.Pool) *Datagrams {
	q := &Datagrams{pool: p}
	q.frags.init(&fragChunks)
	q.msgs.init(&messageChunks)
	q.Init(q.Ready)
	return q
}

// Push appends a datagram of the given frags, whose kernel references the queue
// takes over. m.Iovs is set to their number. Not seen before Publish. Producer
// only.
func (q *Datagrams) Push(m Message, frags []buf.Frag) {
	for _, f := range frags {
		q.frags.push(f)
	}
	m.Iovs = len(frags)
	q.msgs.push(m)
}

// PushSegments is Push for datagrams of size bytes each, the last perhaps shorter,
// that somebody has put together to one of m.Len bytes: their boundaries are kept, and
// several may lie in one buffer, for which references are taken. If frags have less
// than m.Len, what there is of the datagram in which they end is pushed as truncated,
// and lost are those behind it. The caller charges each buffer once.
func (q *Datagrams) PushSegments(m Message, frags []buf.Frag, size int) (pushed, lost int) {
	total := m.Len
	m.Truncated = false
	m.Len, m.Iovs = min(size, total), 0
	left := m.Len // bytes that the datagram at hand wants yet
	done := 0     // bytes of those before it
	end := func() {
		q.msgs.push(m)
		pushed++
		done += m.Len
		m.Len, m.Iovs = min(size, total-done), 0
		left = m.Len
	}
	for i, f := range frags {
		pieces := 1
		if f.Len() > left {
			pieces += (f.Len() - left + size - 1) / size
		}
		if q.pool.GetN(f, pieces-1) != nil {
			q.pool.PutFrags(frags[i:]) // counted out: as if they had not come
			break
		}
		for off := 0; off < f.Len(); {
			n := min(left, f.Len()-off)
			q.frags.push(f.Slice(off, off+n))
			m.Iovs++
			off += n
			if left -= n; left == 0 {
				end()
			}
		}
	}
	if m.Iovs > 0 {
		m.Truncated = true
		end()
	}
	return pushed, (total - done + size - 1) / size
}

// Publish shows what was pushed; see Queue.Publish.
func (q *Datagrams) Publish() { q.PublishTo(nil) }

// PublishTo is Publish, but leaves it to w to wake a consumer that blocks.
func (q *Datagrams) PublishTo(w *Wakes) {
	q.frags.publish()
	if q.msgs.publish() {
		q.Raise()
		w.add(&q.sleeper)
	}
}

// Fail has the next call of the application fail with errno, before any datagram
// that waits: something was said about one that it had sent (the kernel's sk_err). A
// later failure takes the place of one that nobody was told of. Producer only.
func (q *Datagrams) Fail(errno syscall.Errno) {
	q.failure.Store(uint32(errno))
	q.Raise()
	q.Unpark()
}

// Failure is what Fail was told, once: for calls beside Recv and Poll that may tell
// it. Any goroutine.
func (q *Datagrams) Failure() error {
	if q.failure.Load() == 0 {
		return nil
	}
	if errno := q.failure.Swap(0); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// Ready reports whether Poll has something to give. Any goroutine.
func (q *Datagrams) Ready() bool { return q.msgs.len() > 0 || q.failure.Load() != 0 || q.Ended() }

// Ended reports whether Abort was called: nothing will follow.
func (q *Datagrams) Ended() bool { return q.end.Load() != nil }

// Len is the number of datagrams that wait.
func (q *Datagrams) Len() int { return q.msgs.len() }

// Recv waits for a datagram and takes as many whole ones as are there and fit:
// up to len(msgs) messages whose iovs stand in dst in their order. If already
// the first has more iovs than dst it is cut and marked truncated, and its tail
// is lost, nothing else. iovs is the number of iovs filled. EINVAL for no room,
// EBUSY while armed, net.ErrClosed, os.ErrDeadlineExceeded, and what Fail and Abort
// were told.
func (q *Datagrams) Recv(dst []buf.Iov, msgs []Message) (n, iovs int, err error) {
	if len(dst) == 0 || len(msgs) == 0 {
		return 0, 0, syscall.EINVAL
	}
	q.mu.Lock()
	defer q.leave(&q.mu, q.Ready)
	if q.Armed() {
		return 0, 0, errArmed
	}
	for {
		if err := q.Park(); err != nil {
			return 0, 0, err
		}
		if err := q.over(); err != nil {
			return 0, 0, err
		}
		if n, iovs = q.pop(dst, msgs); n > 0 {
			return n, iovs, nil
		}
		// Somebody else was told of the failure that we woke for.
	}
}

// Poll is Recv without waiting; more says that there is more to give. See Queue.Poll.
func (q *Datagrams) Poll(dst []buf.Iov, msgs []Message) (n, iovs int, more bool, err error) {
	if !q.mu.TryLock() {
		return 0, 0, false, nil
	}
	defer q.mu.Unlock()
	if q.Closed() {
		return 0, 0, false, net.ErrClosed
	}
	if err := q.over(); err != nil {
		return 0, 0, !q.Ended() && q.Ready(), err
	}
	n, iovs = q.pop(dst, msgs)
	return n, iovs, q.Ready(), nil
}

// over is what is told before datagrams: what Abort was told, or Fail.
func (q *Datagrams) over() error {
	if end := q.end.Load(); end != nil {
		return *end
	}
	return q.Failure()
}

func (q *Datagrams) pop(dst []buf.Iov, msgs []Message) (n, iovs int) {
	for n < len(msgs) {
		m := q.msgs.peek()
		if m == nil || n > 0 && m.Iovs > len(dst)-iovs {
			break
		}
		out := &msgs[n]
		*out = *m
		k := q.take(dst[iovs:], m.Iovs)
		q.msgs.drop()
		n++
		iovs += k
		if k < m.Iovs {
			out.Iovs, out.Truncated = k, true
			break // no room, or a buffer is counted out
		}
	}
	q.settle()
	return n, iovs
}

// take hands the next n frags over to dst, and drops those from the first on for
// which there is no room, or no reference left. It returns how many it handed over.
func (q *Datagrams) take(dst []buf.Iov, n int) (taken int) {
	for i := range n {
		f := *q.frags.peek()
		q.frags.drop()
		if taken < i || i == len(dst) || q.pool.HandOver(f, &dst[i]) != nil {
			q.pool.Put(f.Buffer())
			continue
		}
		taken++
	}
	return taken
}

// Close ends the consumer's side; see Queue.Close.
func (q *Datagrams) Close() {
	q.Parker.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.Disarm()
}

// Abort ends q with err and drops what was not taken; see Queue.Abort. Producer only.
func (q *Datagrams) Abort(err error) (dropped int) {
	q.end.Store(&err)
	q.Raise()
	q.Unpark()
	q.mu.Lock() // a consumer that waited with it was woken
	defer q.leave(&q.mu, q.Ready)
	return q.Drain()
}

// Drain drops the datagrams that nobody will take and returns their number.
// After Close, by the producer.
func (q *Datagrams) Drain() (dropped int) {
	q.frags.publish()
	q.msgs.publish()
	for f := q.frags.peek(); f != nil; f = q.frags.peek() {
		q.pool.Put(f.Buffer())
		q.frags.drop()
	}
	for m := q.msgs.peek(); m != nil; m = q.msgs.peek() {
		q.msgs.drop()
		dropped++
	}
	q.settle()
	return dropped
}

func (q *Datagrams) settle() {
	q.frags.settle()
	q.msgs.settle()
}
