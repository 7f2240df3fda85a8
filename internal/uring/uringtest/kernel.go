//go:build linux

package uringtest

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

// Options say what kernel to play. The zero value is one without a device, with large completions and queues of 64 and 128.
type Options struct {
	SQEntries, CQEntries int

	// Mixed has completions of two sizes (CQE_MIXED): payload takes two slots of the queue. Else all are large (CQE32).
	Mixed bool
	// Disabled is SetupRDisabled: the thread that calls Enable is the issuer. Else it is the one that called New.
	Disabled bool

	// Device plays a NIC: it takes buffers back by itself, from a goroutine of its own, and when none is left payload waits
	// in the sockets, with the event ZCRXAllocFailed. Else everything is as with NoDevice: buffers come back by Flush only,
	// and without a free one a receive ends with ENOMEM.
	Device bool

	// Chunk is the most payload of one completion. 0 is a whole buffer. Smaller ones are packed into one buffer, whichever
	// connection they are of.
	Chunk int

	// Apart has each piece of Chunk bytes in a buffer of its own, as a NIC does that does not pack.
	Apart bool

	// Stalls plays kernels that lack uring.ZCRXNoStall: a receive that the socket woke, and that stopped for want of a
	// buffer or of room in the completion queue after it had brought something, says nothing and waits for more data.
	Stalls bool

	// Deaf, with Stalls, is how often a receive that the socket woke, and that has brought something, stops though nothing
	// is lacking: after each so many completions with payload. 0: never.
	Deaf int

	// Fault, if not nil, is asked about each request when it is submitted. Not 0 is the errno that it completes with. It
	// runs on the ring's thread.
	Fault func(uring.SQE) unix.Errno

	// RegisterErr, if not nil, is what RegisterZCRX fails with.
	RegisterErr error
}

// Counts is what a Kernel has seen.
type Counts struct {
	Enters, Flushes, Requests uint64
	Payload                   uint64 // completions with payload
	Overflows                 uint64 // completions that found the queue full, ENOSPC included
	Bogus                     uint64 // refill entries that no correct application writes
	Returned                  uint64 // refill entries that gave a reference back
}

// Kernel plays an io_uring instance. Like a Ring it is for one thread, which is checked; Counts and the Wakers are for all.
type Kernel struct {
	o      Options
	tid    int // of the issuer; 0 while disabled
	closed bool

	sq   []uring.SQE
	cq   queue
	reqs []*request // in flight, oldest first
	ifqs []*ifq

	remote  remote
	scratch []byte
	polls   []unix.PollFd

	enters, flushes, requests, payload, overflows, bogus, returned atomic.Uint64
}

var _ uring.Instance = (*Kernel)(nil)

// New makes a Kernel. The caller closes it.
func New(o Options) (*Kernel, error) {
	if o.SQEntries <= 0 {
		o.SQEntries = 64
	}
	if o.CQEntries <= 0 {
		o.CQEntries = 2 * o.SQEntries
	}
	k := &Kernel{o: o, cq: queue{size: o.CQEntries, mixed: o.Mixed}}
	if err := k.remote.open(); err != nil {
		return nil, err
	}
	if !o.Disabled {
		k.tid = unix.Gettid()
	}
	return k, nil
}

// Opener returns a function that makes a Kernel with o, of the sizes and flags that it is called with, as engines open
// rings.
func Opener(o Options) func(entries uint32, p uring.Params) (uring.Instance, error) {
	return func(entries uint32, p uring.Params) (uring.Instance, error) {
		o := o
		if o.SQEntries == 0 {
			o.SQEntries = int(entries)
		}
		if o.CQEntries == 0 {
			o.CQEntries = int(p.CQEntries)
		}
		o.Mixed = p.Flags&uring.SetupCQEMixed != 0
		o.Disabled = p.Flags&uring.SetupRDisabled != 0
		k, err := New(o)
		if err != nil {
			return nil, err
		}
		return k, nil
	}
}

// check is what the kernel looks at before everything else.
func (k *Kernel) check() error {
	switch {
	case k.closed:
		return uring.ErrClosed
	case k.tid == 0:
		return fmt.Errorf("uringtest: the ring is disabled: %w", unix.EBADFD)
	case k.tid != unix.Gettid():
		return fmt.Errorf("uringtest: another thread is the ring's single issuer: %w", unix.EEXIST)
	}
	return nil
}

// Enable makes the calling thread the issuer.
func (k *Kernel) Enable() error {
	if k.closed {
		return uring.ErrClosed
	}
	if k.tid != 0 {
		return fmt.Errorf("uringtest: the ring is enabled: %w", unix.EBADFD)
	}
	k.tid = unix.Gettid()
	return nil
}

// RegisterRingFD does nothing.
func (k *Kernel) RegisterRingFD() error { return k.check() }

// Push queues a request.
func (k *Kernel) Push(sqe uring.SQE) error {
	if k.closed {
		return uring.ErrClosed
	}
	if len(k.sq) == k.o.SQEntries {
		return uring.ErrQueueFull
	}
	k.sq = append(k.sq, sqe)
	return nil
}

// Pending returns how many requests wait for Submit or Enter.
func (k *Kernel) Pending() int { return len(k.sq) }

// Submit takes the pushed requests. Like in the real kernel, completions of those that end at once are there; of what becomes
// ready later, only after Enter.
func (k *Kernel) Submit() (int, error) {
	if err := k.check(); err != nil {
		return 0, err
	}
	k.enters.Add(1)
	return k.submit(), nil
}

func (k *Kernel) submit() int {
	n := len(k.sq)
	for _, sqe := range k.sq {
		k.requests.Add(1)
		k.issue(sqe)
	}
	k.sq = k.sq[:0]
	k.cq.refill()
	return n
}

// Enter takes the pushed requests, serves what is ready, and waits for wait slots of the completion queue to be filled, for
// timeout at most.
func (k *Kernel) Enter(wait int, timeout time.Duration) (int, error) {
	if err := k.check(); err != nil {
		return 0, err
	}
	k.enters.Add(1)
	n := k.submit()
	deadline := time.Now().Add(timeout)
	for first := true; ; first = false {
		left := time.Duration(0)
		if k.cq.ready() < wait && (first || timeout < 0 || time.Now().Before(deadline)) {
			left = timeout
			if timeout > 0 {
				left = max(time.Until(deadline), 0)
			}
		}
		if err := k.serve(left); err != nil {
			return n, err
		}
		if left == 0 || k.cq.ready() >= wait {
			return n, nil
		}
	}
}

// Reap moves completions to dst.
func (k *Kernel) Reap(dst []uring.CQE) int { return k.cq.reap(dst) }

// Take moves completions to room.
func (k *Kernel) Take(room []uring.CQE) []uring.CQE { return room[:k.Reap(room)] }

// Ready returns how many slots of the completion queue are filled.
func (k *Kernel) Ready() int { return k.cq.ready() }

// Overflowing reports whether completions wait for room.
func (k *Kernel) Overflowing() bool { return len(k.cq.backlog) > 0 }

// Stats returns zeros: nothing goes wrong here.
func (k *Kernel) Stats() uring.Stats { return uring.Stats{} }

// Waker returns one that posts a completion from any goroutine.
func (k *Kernel) Waker(userData uint64, res int32) *uring.Waker {
	return uring.NewWaker(func() error { return k.remote.post(uring.CQE{UserData: userData, Res: res}) })
}

// Close ends everything. Buffers that were not returned are taken back, as the real kernel does.
func (k *Kernel) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	for _, q := range k.ifqs {
		q.leave()
	}
	k.reqs = nil
	return k.remote.close()
}

// Counts reads the counters.
func (k *Kernel) Counts() Counts {
	return Counts{
		Enters: k.enters.Load(), Flushes: k.flushes.Load(), Requests: k.requests.Load(), Payload: k.payload.Load(),
		Overflows: k.overflows.Load(), Bogus: k.bogus.Load(), Returned: k.returned.Load(),
	}
}

// pageSize is what buffers are by default.
var pageSize = os.Getpagesize()
