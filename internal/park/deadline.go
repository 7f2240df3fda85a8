package park

import (
	"sync"
	"time"
)

// deadline is a point in time that can be waited for and moved while somebody
// waits: a channel that is closed when it has come.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ch    chan struct{}
}

// done is closed when the deadline has come. It is replaced when a deadline
// that had come is moved on.
func (d *deadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ch
}

// set moves the deadline; the zero time means never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.ch // the timer fired: let it close the channel that we look at next
	}
	d.timer = nil
	past := isClosed(d.ch)
	switch left := time.Until(t); {
	case t.IsZero():
		if past {
			d.ch = make(chan struct{})
		}
	case left <= 0:
		if !past {
			close(d.ch)
		}
	default:
		if past {
			d.ch = make(chan struct{})
		}
		ch := d.ch
		d.timer = time.AfterFunc(left, func() { close(ch) })
	}
}

// isClosed reports whether c is closed; nil is not.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
