//go:build linux

package xdp

import (
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// Frames to who was not found yet wait for a while (RFC 1122 section 2.3.2.2, RFC
// 4861 section 7.2.2): the kernel asks, and mostly knows within a round trip. Dropped
// they would cost the first datagram to a peer, and a handshake a time-out.
const (
	// maxUnresolved is how many wait at most; the oldest makes room.
	maxUnresolved = 64
	// resolveTime is how long one waits: the kernel asks three times, a second apart,
	// before it says that there is nobody.
	resolveTime = 3 * time.Second
	// resolvePause is how long Wait sleeps between looks. That a neighbor was found
	// is no event of the driver's.
	resolvePause = time.Millisecond
)

// An unresolved frame is a copy of one that Send was given: what it came from is the
// stack's again.
type unresolved struct {
	frame driver.TxFrame // its Head is the copy, and all of it; the payload is empty
	dst   netip.Addr
	until mono.Time
}

// keepUnresolved has f wait. It is counted once it is given up.
func (t *sender) keepUnresolved(now mono.Time, f *driver.TxFrame, dst netip.Addr) {
	if len(t.unresolved) == maxUnresolved {
		t.giveUp(1)
	}
	all := make([]byte, 0, f.Len())
	all = append(append(append(all, f.Head...), f.Payload[0]...), f.Payload[1]...)
	kept := *f
	kept.Head, kept.Payload = all, [2][]byte{}
	t.unresolved = append(t.unresolved, unresolved{kept, dst, now.Add(resolveTime)})
}

// giveUp drops the n that have waited longest.
func (t *sender) giveUp(n int) {
	t.counters.Unresolved += uint64(n)
	t.unresolved = append(t.unresolved[:0], t.unresolved[n:]...)
}

// sendResolved sends the frames whose next hop was found meanwhile, in their order,
// and drops those that have waited for too long.
func (d *Driver) sendResolved(now mono.Time) error {
	t := &d.tx
	if len(t.unresolved) == 0 || now.Sub(t.looked) < resolvePause && t.looked != 0 {
		return nil
	}
	late := 0
	for late < len(t.unresolved) && t.unresolved[late].until.Before(now) {
		late++
	}
	if late > 0 {
		t.giveUp(late)
	}
	t.looked = now
	frames := t.resolved[:0]
	left := t.unresolved[:0]
	for i := range t.unresolved {
		u := &t.unresolved[i]
		if _, ok := t.resolver.MAC(u.dst); ok {
			frames = append(frames, u.frame)
		} else {
			left = append(left, *u)
		}
	}
	clear(t.unresolved[len(left):])
	t.unresolved, t.resolved = left, frames
	if len(frames) == 0 {
		return nil
	}
	n, err := d.send(now, frames)
	// A wire that is full loses the rest: they are few, and late already.
	t.counters.Wire += uint64(len(frames) - n)
	clear(t.resolved)
	return err
}
