package mem

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// Wait blocks until there is a frame to receive and buffers for it, a Send that
// took fewer than all may take more, Wake was called, or until has come (0: no
// limit). While frames wait for buffers it relies on the owner of the pool
// having told it to call Wake (buf.Pool.OnReturn). After Close it returns
// net.ErrClosed.
func (e *End) Wait(until mono.Time) error {
	if e.closed.Load() {
		return errClosed
	}
	e.waiting.Store(true)
	defer e.waiting.Store(false)
	// After the store: see Send.
	if e.rx.front() != nil && e.recv.mayTake() {
		return nil
	}
	e.stats.Waits++
	if until == 0 {
		<-e.token
		return nil
	}
	left := until.Sub(mono.Now())
	if left <= 0 {
		return nil
	}
	if e.timer == nil {
		e.timer = time.NewTimer(left)
	} else {
		e.timer.Reset(left)
	}
	select {
	case <-e.token:
		e.timer.Stop()
	case <-e.timer.C:
	}
	return nil
}

// Wake makes a Wait that is under way, or the next one that would block,
// return. Any goroutine.
func (e *End) Wake() {
	select {
	case e.token <- struct{}{}:
	default:
	}
}
