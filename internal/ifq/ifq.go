// Package ifq is the interface queue: one receive queue of a device, bound to a
// region and the fill ring by which the application returns buffers (RFC
// patches 1 to 3, and the delayed removal of 13).
package ifq

import (
	"fmt"
	"sync"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// MaxQueue is the largest queue id: 16 bits, as in the RFC's REGISTER_IFQ.
const MaxQueue = 1<<16 - 1

// AnyQueue leaves it to the device which of its queues it sets up.
const AnyQueue = -1

// DefaultRemoveTimeout bounds how long Close waits for kernel references, as
// the RFC's third version does.
const DefaultRemoveTimeout = 10 * time.Second

// A Device has receive queues. It is the RFC's netdev hook (patch 2).
type Device interface {
	// Name is what the table of queues in use knows the device by.
	Name() string
	// SetupQueue makes the device receive into q's pool from now on. On an
	// error it has undone what it did, its buffers put back; the error is
	// passed through: ENODEV for no such device, EOPNOTSUPP for one that can't.
	SetupQueue(q *Queue) error
	// CloseQueue stops that, also when it returns an error, which is only
	// reported. When it returns nothing allocates from q's pool any more;
	// buffers that are still under way are put later. It is called once, and
	// only for a queue that SetupQueue set up.
	CloseQueue(q *Queue) error
}

// Args are the arguments of Register, the RFC's struct io_uring_ifq_req
// {ifindex, queue_id, ifq_id, region_id}.
type Args struct {
	// Queue is the device's receive queue, 0 to MaxQueue, or AnyQueue: then
	// SetupQueue calls Choose.
	Queue int
	// Region says what memory payload is received into.
	Region buf.RegionConfig
	// RemoveTimeout bounds how long Close waits for kernel references; 0 means
	// DefaultRemoveTimeout, less than 0 that it does not wait.
	RemoveTimeout time.Duration
}

// A Queue is a registered interface queue. Its methods may be called from any
// goroutine.
type Queue struct {
	dev     Device
	key     tableKey
	timeout time.Duration
	pool    *buf.Pool

	closeOnce sync.Once
	closeErr  error
}

// Pool is the queue's buffers, its fill ring among them. The pool outlives the
// queue for as long as buffers are out.
func (q *Queue) Pool() *buf.Pool { return q.pool }

// Choose says which queue the device has set up, if that was left to it. EBUSY:
// another one of this process is on it.
func (q *Queue) Choose(id int) error {
	q.key.queue = id
	if !table.claim(q) {
		return errRegistered
	}
	return nil
}

// ID is the device's receive queue.
func (q *Queue) ID() int { return q.key.queue }

// fail says which queue an error is of.
func (q *Queue) fail(err error) error {
	if err == nil {
		return nil
	}
	if q.key.queue == AnyQueue {
		return fmt.Errorf("ifq: %s: %w", q.key.device, err)
	}
	return fmt.Errorf("ifq: %s queue %d: %w", q.key.device, q.key.queue, err)
}
