package udp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/park"
)

const (
	// sendSlots is the datagrams that wait in one socket, at most.
	sendSlots = 64

	// keptCap is the largest memory that a slot keeps for its next datagram,
	// bytes: a full one on an Ethernet.
	keptCap = 2048
)

// datagram is one slot of a SendQueue.
type datagram struct {
	payload      []byte
	to           netip.AddrPort
	trafficClass uint8
}

// A SendQueue carries datagrams from the application to the engine: a ring with
// one producer at a time and one consumer, the engine.
type SendQueue struct {
	slots []datagram // made by the first Write

	tail atomic.Uint64 // next slot to fill; the writer stores it
	head atomic.Uint64 // next slot to free; the engine stores it
	next uint64        // next slot to send; engine only

	trafficClass atomic.Uint32 // of what is written from now on

	mu     sync.Mutex // writers
	parker park.Parker
}

func newSendQueue() *SendQueue {
	q := &SendQueue{}
	q.parker.Init(func() bool { return q.tail.Load()-q.head.Load() < sendSlots })
	return q
}

// Write copies one datagram into the queue, and waits while that is full. The
// caller then tells the engine. Errors: net.ErrClosed, os.ErrDeadlineExceeded.
func (q *SendQueue) Write(p []byte, to netip.AddrPort) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.parker.Park(); err != nil {
		return err
	}
	q.put(p, to)
	return nil
}

// TryWrite is Write without waiting: EAGAIN while the queue is full, or another Write
// is at it.
func (q *SendQueue) TryWrite(p []byte, to netip.AddrPort) error {
	if !q.mu.TryLock() {
		return syscall.EAGAIN
	}
	defer q.mu.Unlock()
	ready, err := q.parker.Try()
	if err == nil && !ready {
		err = syscall.EAGAIN
	}
	if err == nil {
		q.put(p, to)
	}
	return err
}

// put is Write's part when there is room; the caller holds mu.
func (q *SendQueue) put(p []byte, to netip.AddrPort) {
	if q.slots == nil {
		q.slots = make([]datagram, sendSlots)
	}
	t := q.tail.Load()
	d := &q.slots[t%sendSlots]
	d.payload = append(d.payload[:0], p...)
	d.to, d.trafficClass = to, uint8(q.trafficClass.Load())
	// Release: pairs with the load in Next; the engine sees slots and datagram.
	q.tail.Store(t + 1)
}

// SetTrafficClass sets DSCP and ECN of what is written from now on. Any goroutine.
func (q *SendQueue) SetTrafficClass(tc uint8) { q.trafficClass.Store(uint32(tc)) }

// Next is the oldest datagram that was not yet seen. Its payload stays as it is
// until Free. Engine only.
func (q *SendQueue) Next() (payload []byte, to netip.AddrPort, tc uint8, ok bool) {
	if q.next == q.tail.Load() { // acquire: pairs with Write
		return nil, netip.AddrPort{}, 0, false
	}
	d := &q.slots[q.next%sendSlots]
	q.next++
	return d.payload, d.to, d.trafficClass, true
}

// Empty reports whether Next has nothing. Engine only.
func (q *SendQueue) Empty() bool { return q.next == q.tail.Load() }

// Free gives the slots of all that Next returned back to the writers. Engine only.
func (q *SendQueue) Free() {
	h := q.head.Load()
	if h == q.next {
		return
	}
	for ; h != q.next; h++ {
		if d := &q.slots[h%sendSlots]; cap(d.payload) > keptCap {
			d.payload = nil
		}
	}
	// Release: pairs with the load in the writer's ready function.
	q.head.Store(h)
	q.parker.Unpark()
}

// SetDeadline makes Write fail from t on; the zero time means never.
func (q *SendQueue) SetDeadline(t time.Time) { q.parker.SetDeadline(t) }

// Close makes Write fail with net.ErrClosed. What was written may still be sent.
func (q *SendQueue) Close() { q.parker.Close() }
