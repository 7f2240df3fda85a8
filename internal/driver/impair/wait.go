package impair

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// NextEvent is when Poll will deliver a frame that is held back now; 0 if none
// is. A time not after that of the last Poll means at once. A frame that is to
// be overtaken may come earlier, with those that do. For tests that have no
// clock and can't Wait.
func (d *Driver) NextEvent() mono.Time {
	// At least 1: a time of 0 would say "none".
	now := max(d.now, 1)
	if d.err != nil {
		return now
	}
	return d.hold.next(now, d.counts.Delivered)
}

// Wait waits as the decorated driver does, but not longer than until a frame
// that is held back is due.
func (d *Driver) Wait(until mono.Time) error {
	if next := d.NextEvent(); next != 0 {
		if next <= max(d.now, 1) {
			return nil
		}
		if until == 0 || next.Before(until) {
			until = next
		}
	}
	return d.inner.Wait(until)
}

// Wake wakes the decorated driver.
func (d *Driver) Wake() { d.inner.Wake() }

// Caps is the decorated driver's.
func (d *Driver) Caps() driver.Caps { return d.inner.Caps() }

// Send sends on the decorated driver, unimpaired.
func (d *Driver) Send(now mono.Time, frames []driver.TxFrame) (int, error) {
	return d.inner.Send(now, frames)
}

// Stats adds the decorated driver's counters to s: frames as they were before
// anything happened to them. Counts tells the rest.
func (d *Driver) Stats(s *driver.Stats) { d.inner.Stats(s) }

// Close puts back the buffers of the frames held back, and closes the decorated
// driver.
func (d *Driver) Close() error {
	d.counts.Discarded += uint64(d.hold.close(d.config.Pool))
	return d.inner.Close()
}
