package impair

import (
	"slices"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// A Driver is another driver over a bad wire.
type Driver struct {
	inner  driver.Driver
	config Config
	clean  bool // nothing can happen to any frame

	dice    dice
	corrupt corrupter
	hold    hold
	in      *driver.Batch // what the inner driver received
	ids     []uint16      // of a duplicate's buffers, while they are allocated

	now    mono.Time // of the Poll under way, or the last one
	full   bool      // the batch of this Poll has had no room for a frame
	err    error     // of the inner driver, for when what came before it is out
	counts Counts
}

var _ driver.Driver = (*Driver)(nil)

// New puts a bad wire between inner and whoever polls; EINVAL says what is wrong
// with c. The decorated driver belongs to the new one, and is closed with it.
func New(inner driver.Driver, c Config) (*Driver, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	c.Rules = slices.Clone(c.Rules)
	d := &Driver{
		inner: inner, config: c, clean: c.does() == 0,
		corrupt: newCorrupter(c.Pool.Region(), inner.Caps().LinkHeader),
		in:      &driver.Batch{},
	}
	d.dice = newDice(&d.config)
	return d, nil
}

// Poll receives what the decorated driver received, now or earlier, and the
// wire did not keep. A frame that is due comes out, in the order of due times,
// if b has room, and if not with the next Poll. Held frames come before new
// ones. It is an error (EINVAL) if the whole of b has no room for one frame. An
// error of the decorated driver comes after the frames that it received before,
// but not after those held back, which Close puts back.
//
// A corrupted frame always fails verification, as every flipped bit does that a
// checksum covers: only such bits are flipped in IP packets, those of the IPv4
// header and of TCP, UDP and ICMP, but not those that tell how far a checksum
// reaches (the IPv4 header's length, UDP's length), nor UDP's checksum, as zero
// would be none. A frame from our own machine has no valid checksum to begin
// with, and might pass with the flip. It gets one first; so does an IPv4 UDP
// datagram without. Of frames that are no sound TCP, UDP or ICMP over IPv6 any
// bit behind the link header may be flipped, and of other IPv4 packets any of
// the IP header.
func (d *Driver) Poll(now mono.Time, b *driver.Batch) error {
	if d.clean {
		err := d.inner.Poll(now, b)
		d.counts.Received += uint64(len(b.Frames))
		d.counts.Delivered += uint64(len(b.Frames))
		return err
	}
	b.Reset()
	if d.err != nil {
		return d.err
	}
	d.now, d.full = now, false
	d.hold.recycle()
	d.release(b)
	switch {
	case d.full && len(b.Frames) == 0:
		return invalid("a batch of %d frames and %d frags can't hold one frame", cap(b.Frames), cap(b.Frags))
	case d.full || len(b.Frames) == cap(b.Frames):
		return nil // so the frames that wait for room are those of one batch
	}
	return d.receive(b)
}

// receive polls the decorated driver, and lets the wire have its way with what
// has come.
func (d *Driver) receive(b *driver.Batch) error {
	if cap(d.in.Frames) < cap(b.Frames) || cap(d.in.Frags) < cap(b.Frags) {
		d.in = driver.NewBatch(cap(b.Frames), cap(b.Frags))
	}
	err := d.inner.Poll(d.now, d.in)
	d.counts.Received += uint64(len(d.in.Frames))
	for i := range d.in.Frames {
		d.meet(b, &d.in.Frames[i])
	}
	if err != nil && len(b.Frames) > 0 {
		d.err = err
		return nil
	}
	return err
}

// meet is a frame's meeting with its fate.
func (d *Driver) meet(b *driver.Batch, f *driver.Frame) {
	original, copied := d.dice.next()
	if original.has(Drop) {
		d.config.Pool.PutFrags(f.Frags)
		d.counts.Dropped++
		return
	}
	var h *held
	if original.has(Duplicate) {
		// First, for nothing but a copy of what was received is a duplicate.
		if h = d.duplicate(f); h == nil {
			d.counts.Uncopied++
		} else {
			d.counts.Duplicated++
		}
	}
	d.pass(b, f, nil, &original)
	if h != nil {
		d.pass(b, &h.frame, h, &copied)
	}
}

// pass delivers a frame, or holds it back. h is where it lies if that is not
// memory of the decorated driver.
func (d *Driver) pass(b *driver.Batch, f *driver.Frame, h *held, t *fate) {
	if t.has(Corrupt) {
		d.corrupt.flip(f, t.bit)
		d.counts.Corrupted++
	}
	if t.has(Delay|Reorder) && d.hold.len() >= d.config.Hold {
		d.config.Pool.PutFrags(f.Frags)
		d.counts.Overflowed++
		if h != nil {
			d.hold.free = append(d.hold.free, h)
		}
		return
	}
	switch {
	case t.has(Delay):
		d.hold.delay(d.keep(f, h), d.now.Add(t.delay(&d.config)))
		d.counts.Delayed++
	case t.has(Reorder):
		h = d.keep(f, h)
		h.due = d.now.Add(d.config.ReorderLimit)
		h.after = d.counts.Delivered + uint64(d.config.ReorderBy)
		d.hold.reordered = append(d.hold.reordered, h)
		d.counts.Reordered++
	case !d.deliver(b, f):
		d.hold.delay(d.keep(f, h), 0)
	default:
		if h != nil {
			d.hold.lent = append(d.hold.lent, h)
		}
		d.overtaken(b)
	}
}

// keep makes sure that f lies in memory of ours.
func (d *Driver) keep(f *driver.Frame, h *held) *held {
	if h == nil {
		h = d.hold.take()
		h.keep(f)
	}
	return h
}

// release delivers the held frames that are due.
func (d *Driver) release(b *driver.Batch) {
	d.overtaken(b)
	q, n := &d.hold, 0
	for n < len(q.delayed) && !d.now.Before(q.delayed[n].due) && d.deliver(b, &q.delayed[n].frame) {
		q.lent = append(q.lent, q.delayed[n])
		n++
		d.overtaken(b)
	}
	q.delayed = slices.Delete(q.delayed, 0, n)
}

// overtaken delivers the reordered frames for which it is time.
func (d *Driver) overtaken(b *driver.Batch) {
	q := &d.hold
	for len(q.reordered) > 0 {
		h := q.reordered[0]
		if h.after > d.counts.Delivered && d.now.Before(h.due) || !d.deliver(b, &h.frame) {
			return
		}
		q.lent = append(q.lent, h)
		q.reordered = slices.Delete(q.reordered, 0, 1)
	}
}

// deliver appends f to b. If it has no room for f, nothing is delivered any more
// by this Poll, so that no frame overtakes f by being smaller.
func (d *Driver) deliver(b *driver.Batch, f *driver.Frame) bool {
	first := len(b.Frags)
	if d.full || len(b.Frames) == cap(b.Frames) || first+len(f.Frags) > cap(b.Frags) {
		d.full = true
		return false
	}
	b.Frags = append(b.Frags, f.Frags...)
	b.Frames = append(b.Frames, *f)
	b.Frames[len(b.Frames)-1].Frags = b.Frags[first:len(b.Frags):len(b.Frags)]
	d.counts.Delivered++
	return true
}
