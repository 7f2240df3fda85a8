//go:build linux

package hostnet

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// limiter bounds how often something is done about an address, and about all
// of them together, in constant memory. Any goroutine may use it.
//
// An address hashes to a slot, which holds who used it last and when. Addresses
// that share one are held up a little by each other.
type limiter struct {
	seed  key
	each  time.Duration // least time between two for one address
	slot  time.Duration // and for one slot
	slots [512]atomic.Uint64
}

// allow reports whether it may be done now, and counts it as done then. now is
// the time since any fixed moment.
func (l *limiter) allow(a netip.Addr, now time.Duration) bool {
	h := hash(a, l.seed)
	slot := &l.slots[h%uint64(len(l.slots))]
	tag := uint32(h>>32) | 1                      // an unused slot is nobody's
	millis := uint32(now / time.Millisecond)      // wraps around after 49 days
	old := slot.Load()                            // tag and time
	if oldTag := uint32(old >> 32); oldTag != 0 { // else never used
		least := l.slot
		if oldTag == tag {
			least = l.each
		}
		if time.Duration(millis-uint32(old))*time.Millisecond < least {
			return false
		}
	}
	// Whoever is slower was just as fast: one of the two is enough.
	return slot.CompareAndSwap(old, uint64(tag)<<32|uint64(millis))
}
