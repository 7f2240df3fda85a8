// Package park is how one goroutine waits for another with a deadline and an
// end, at the cost of one atomic load to the other side while nobody waits: the
// consumer of a socket queue, a writer that waits for space.
package park

import (
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A Parker makes one waiter at a time wait for Ready. Init comes first.
type Parker struct {
	ready    func() bool
	waiting  atomic.Bool   // the waiter sets it, who wakes it takes it back
	token    chan struct{} // capacity 1
	closed   atomic.Bool
	deadline deadline
}

// Init sets what is waited for. ready is called by the waiter only.
func (p *Parker) Init(ready func() bool) {
	p.ready = ready
	p.token = make(chan struct{}, 1)
	p.deadline.ch = make(chan struct{})
}

// Park returns nil as soon as ready says so: at once, without waiting, if it
// does already. Errors: net.ErrClosed after Close, os.ErrDeadlineExceeded from
// the deadline on, both before anything that is ready. One waiter at a time:
// the caller holds a lock of its own, which Unpark and Close do not need.
func (p *Parker) Park() error {
	for {
		if p.closed.Load() {
			return net.ErrClosed
		}
		expired := p.deadline.done()
		if isClosed(expired) {
			return os.ErrDeadlineExceeded
		}
		if p.ready() {
			return nil
		}
		p.waiting.Store(true)
		// Look once more: what was published before the other side could see
		// the flag would otherwise wait for the next batch.
		if p.ready() || p.closed.Load() {
			p.waiting.Store(false)
			continue
		}
		select {
		case <-p.token:
		case <-expired:
		}
		p.waiting.Store(false)
	}
}

// Waiting reports whether somebody waits, or is about to.
func (p *Parker) Waiting() bool { return p.waiting.Load() }

// Unpark wakes the waiter, if there is one; what it waits for was published
// before. Any goroutine. It reports whether it woke somebody.
func (p *Parker) Unpark() bool {
	if !p.waiting.Load() || !p.waiting.Swap(false) {
		return false
	}
	p.post()
	return true
}

func (p *Parker) post() {
	select {
	case p.token <- struct{}{}:
	default:
	}
}

// Close makes Park fail with net.ErrClosed, now and for good.
func (p *Parker) Close() {
	p.closed.Store(true)
	p.post()
}

// Closed reports whether Close was called.
func (p *Parker) Closed() bool { return p.closed.Load() }

// SetDeadline makes Park fail with os.ErrDeadlineExceeded from t on, for one
// that waits already too; the zero time means never.
func (p *Parker) SetDeadline(t time.Time) { p.deadline.set(t) }
