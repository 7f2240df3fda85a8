//go:build linux

package gvnic

import (
	"math/rand/v2"
	"time"
)

// reorderHold is how long a packet waits to be overtaken.
const reorderHold = 10 * time.Millisecond

// An injector is the state of the faults.
type injector struct {
	faults Faults
	rand   *rand.Rand
	starve time.Time // until when; zero: not
	flap   time.Time
	unseen bool     // the flap: the device's goroutine has not come to it
	held   *rxFrame // waits to be overtaken, for the queue heldFor
	until  time.Time
	queue  int
}

// set begins with new faults. A packet that is held stays so.
func (j *injector) set(f Faults, now time.Time) {
	j.faults = f
	j.rand = rand.New(rand.NewPCG(f.Seed, 0x67766e6963)) // "gvnic"
	j.starve, j.flap = time.Time{}, time.Time{}
	if f.Starve > 0 {
		j.starve = now.Add(time.Duration(f.Starve))
	}
	if f.Flap > 0 {
		j.flap = now.Add(time.Duration(f.Flap))
	}
	j.unseen = f.Flap > 0
}

// begin has the link's time of being down begin when the device gets to look at it: on a busy
// machine that may be after it had passed, and there would have been no change.
func (j *injector) begin(now time.Time) {
	if j.unseen {
		j.unseen, j.flap = false, now.Add(time.Duration(j.faults.Flap))
	}
}

// starving reports whether no buffers are to be consumed.
func (j *injector) starving(now time.Time) bool {
	return j.faults.Starve < 0 || now.Before(j.starve)
}

// linkUp reports whether the link is up.
func (d *Device) linkUp(now time.Time) bool {
	return !d.inject.faults.LinkDown && !now.Before(d.inject.flap)
}

// hit draws a lot. It draws none for what can't be, so that one fault alone
// meets the same packets whatever else there could be.
func (j *injector) hit(p float64) bool { return p > 0 && j.rand.Float64() < p }

// admit lets the faults come over a packet on its way to queue q.
func (d *Device) admit(q *rxQueue, f rxFrame, now time.Time) {
	j := &d.inject
	n := &d.stats.Injected
	if j.hit(j.faults.Drop) {
		n.Dropped++
		return
	}
	good, bad := j.hit(j.faults.Corrupt), j.hit(j.faults.CorruptBad)
	if good || bad {
		d.admitCorrupt(q, f, bad, now)
		return
	}
	if j.hit(j.faults.Duplicate) {
		n.Duplicated++
		d.pass(q, f, now)
	}
	if j.held == nil && j.hit(j.faults.Reorder) {
		n.Reordered++
		j.held, j.until, j.queue = &f, now.Add(reorderHold), q.id
		return
	}
	d.pass(q, f, now)
}

// admitCorrupt changes a byte of payload. Of a super-frame one packet is hit,
// which then comes alone, as do the others: the checksum is that of a packet.
func (d *Device) admitCorrupt(q *rxQueue, f rxFrame, bad bool, now time.Time) {
	j := &d.inject
	frames, ok := f.segment()
	if !ok || f.payload == 0 || f.payload >= f.end {
		d.pass(q, f, now)
		return
	}
	hit := j.rand.IntN(len(frames))
	for i, s := range frames {
		u := f
		if f.SegmentSize > 0 {
			u = d.understand(s)
		}
		if i == hit {
			u.Data = append([]byte(nil), u.Data...) // a duplicate may share it
			u.Data[u.payload+j.rand.IntN(u.end-u.payload)] ^= byte(1 + j.rand.IntN(255))
			u.badL4 = u.badL4 || bad
			d.stats.Injected.Corrupted++
		}
		d.pass(q, u, now)
	}
}

// pass puts a packet into its queue, and what it overtakes behind it.
func (d *Device) pass(q *rxQueue, f rxFrame, now time.Time) {
	q.push(d, f)
	if d.inject.held != nil {
		d.release()
	}
}

// release lets the held packet go, if its queue is still there.
func (d *Device) release() {
	f := *d.inject.held
	d.inject.held = nil
	if q := d.rx[d.inject.queue]; q != nil {
		q.push(d, f)
	} else {
		d.stats.DropNoQueue++
	}
}
