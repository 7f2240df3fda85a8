// Package park is how one goroutine waits for another with a deadline and an
// end, at the cost of one atomic load to the other side while nobody waits: the
// consumer of a socket queue, a writer that waits for space.
package park

import (
	"net"
	"os"
	_ "sync/atomic" // see interleave/atomic
	"time"

	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/interleave/atomic"
)

// A Parker makes one waiter at a time wait for Ready. Init comes first.
type Parker struct {
	ready    func() bool
	waiting  atomic.Bool // the waiter sets it, who wakes it takes it back
	closed   atomic.Bool
	token    chan struct{}            // capacity 1; the first waiter makes it, before it sets waiting
	deadline atomic.Pointer[deadline] // nil before the first
}

// Init sets what is waited for. ready is called by the waiter only.
func (p *Parker) Init(ready func() bool) { p.ready = ready }

// Park returns nil as soon as ready says so: at once, without waiting, if it
// does already. Errors: net.ErrClosed after Close, os.ErrDeadlineExceeded from
// the deadline on, both before anything that is ready. One waiter at a time:
// the caller holds a lock of its own, which Unpark and Close do not need.
func (p *Parker) Park() error {
	for {
		if p.closed.Load() {
			return net.ErrClosed
		}
		expired := p.expired()
		if isClosed(expired) {
			return os.ErrDeadlineExceeded
		}
		if p.ready() {
			return nil
		}
		p.wait(expired)
	}
}

// Try is Park for who must not wait: ready is what Park would wait for. The caller
// holds the lock that Park's callers do.
func (p *Parker) Try() (ready bool, err error) {
	switch {
	case p.closed.Load():
		return false, net.ErrClosed
	case isClosed(p.expired()):
		return false, os.ErrDeadlineExceeded
	}
	return p.ready(), nil
}

// wait returns when there may be something new, or expired is closed.
func (p *Parker) wait(expired <-chan struct{}) {
	if p.token == nil {
		// Most Parkers are of idle connections, where nobody waits.
		p.token = make(chan struct{}, 1)
	}
	p.waiting.Store(true)
	// Look once more: what was published before the other side could see the flag
	// would otherwise wait for the next batch. Likewise a deadline that was set when
	// there was none.
	if !p.ready() && !p.closed.Load() && p.expired() == expired {
		interleave.Await(func() bool { return len(p.token) > 0 || isClosed(expired) })
		select {
		case <-p.token:
			return
		case <-expired:
		}
	}
	if !p.waiting.Swap(false) {
		interleave.Await(func() bool { return len(p.token) > 0 })
		<-p.token // who took the flag back posts it, or has
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
	// The channel is empty: each wait takes what was posted for it.
	if interleave.Enabled {
		interleave.Await(func() bool { return len(p.token) == 0 })
	}
	p.token <- struct{}{}
	return true
}

// Close makes Park fail with net.ErrClosed, now and for good.
func (p *Parker) Close() {
	p.closed.Store(true)
	p.Unpark()
}

// Closed reports whether Close was called.
func (p *Parker) Closed() bool { return p.closed.Load() }

// SetDeadline makes Park fail with os.ErrDeadlineExceeded from t on, for one
// that waits already too; the zero time means never.
func (p *Parker) SetDeadline(t time.Time) {
	d := p.deadline.Load()
	if d == nil {
		if t.IsZero() {
			return
		}
		p.deadline.CompareAndSwap(nil, &deadline{ch: make(chan struct{})})
		d = p.deadline.Load()
		// Who waits knows of none, and looks again.
		defer p.Unpark()
	}
	d.set(t)
}

// expired is closed when the deadline has come; nil if there never was one.
func (p *Parker) expired() <-chan struct{} {
	if d := p.deadline.Load(); d != nil {
		return d.done()
	}
	return nil
}
