package impair

// Counts tell what became of the frames. Always
//
//	Received + Duplicated == Delivered + Dropped + Overflowed + Discarded + Held
type Counts struct {
	Received  uint64 // by the decorated driver
	Delivered uint64 // by Poll, duplicates included

	Dropped    uint64
	Duplicated uint64
	Corrupted  uint64
	Delayed    uint64
	Reordered  uint64 // held back to be overtaken, even if nothing came that did

	// Overflowed counts frames dropped because Hold frames were held back.
	Overflowed uint64
	// Uncopied counts duplicates not made for want of free buffers.
	Uncopied uint64
	// Discarded counts frames that were held back when the driver was closed.
	Discarded uint64
	// Held is the frames held back now: for their time, to be overtaken, or
	// because a batch had no room for them.
	Held uint64
}

// Counts is the impairments so far. Like Poll it is for the goroutine that the
// driver belongs to.
func (d *Driver) Counts() Counts {
	c := d.counts
	c.Held = uint64(d.hold.len())
	return c
}
