package park

import (
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// A Doze is how a loop sleeps that something else blocks, such as a descriptor, and that others have
// work for. It pairs two sides as in Dekker's algorithm: the loop says that it sleeps, and then looks
// for work once more; who has work publishes it, and then looks whether the loop sleeps. Go's atomics are
// sequentially consistent, so at least one of the two sees the other's store, and while the loop is awake it
// costs one load to tell it something.
type Doze struct {
	asleep atomic.Bool // the loop sets it, who wakes it takes it back
}

// Begin says that the loop sleeps from now on. It looks for work behind this, and calls End if there is
// any, or when it has slept.
func (d *Doze) Begin() { d.asleep.Store(true) }

// End says that the loop is awake, and reports whether somebody wakes it, or has: what he unblocks
// may be the next sleep.
func (d *Doze) End() (woken bool) { return !d.asleep.Swap(false) }

// Wake reports whether the caller has to unblock the loop, for work that was published before. Any
// goroutine; one of all who come while the loop sleeps is told so.
func (d *Doze) Wake() bool { return d.asleep.Load() && d.asleep.Swap(false) }
