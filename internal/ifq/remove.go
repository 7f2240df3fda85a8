package ifq

import (
	"errors"
	"time"
)

// Close closes the device's queue and removes the region from it: at once for
// new allocations, when all kernel references are back for the rest. It does
// not wait for the application's; the memory stays until the last of them too.
// After Args.RemoveTimeout it reports a *buf.BusyError, EBUSY to errors.Is, and
// the memory is kept until everything has come back after all. The queue can be
// registered again in any case. Idempotent: later calls wait for the first and
// return the same.
func (q *Queue) Close() error {
	q.closeOnce.Do(func() {
		q.closeErr = q.fail(errors.Join(q.dev.CloseQueue(q), q.remove()))
	})
	return q.closeErr
}

// remove is the delayed removal of patch 13. Nothing allocates any more, so
// that the pool's OnReturn is free to use.
func (q *Queue) remove() error {
	defer table.release(q)
	returned := make(chan struct{}, 1)
	q.pool.OnReturn(func() {
		select {
		case returned <- struct{}{}:
		default:
		}
	})
	q.pool.Close()
	t := time.NewTimer(q.timeout)
	defer t.Stop()
	for {
		// The wish before the look: what is put in between kicks.
		q.pool.WantReturn()
		if q.pool.Remove() {
			return nil
		}
		select {
		case <-returned:
		case <-t.C:
			return q.pool.Abandon()
		}
	}
}
