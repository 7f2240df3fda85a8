//go:build linux

package kernel

import (
	"errors"
	"slices"

	"github.com/zctap/zctap/internal/uring"
)

// dues is the tokens that wait for room in the refill ring, oldest first: a
// large region has more buffers than the ring has entries, and none is dropped.
type dues struct {
	tokens []uring.RefillEntry
	head   int
}

func (d *dues) add(place uint64) { d.tokens = append(d.tokens, uring.RefillEntry{Token: place}) }
func (d *dues) len() int         { return len(d.tokens) - d.head }

// room is where the next n tokens may be put; those that are count with added.
func (d *dues) room(n int) []uring.RefillEntry {
	d.tokens = slices.Grow(d.tokens, n)
	return d.tokens[len(d.tokens):][:n]
}

func (d *dues) added(n int) { d.tokens = d.tokens[:len(d.tokens)+n] }

// move puts tokens into the refill ring as far as there is room.
func (d *dues) move(rq *uring.RQ) {
	for d.len() > 0 {
		n := copy(rq.Room(d.len()), d.tokens[d.head:])
		if n == 0 {
			break
		}
		rq.Wrote(n)
		d.head += n
	}
	rq.Publish()
	if d.head == len(d.tokens) {
		d.tokens, d.head = d.tokens[:0], 0
	} else if d.head > len(d.tokens)/2 {
		n := copy(d.tokens, d.tokens[d.head:])
		d.tokens, d.head = d.tokens[:n], 0
	}
}

// collect takes in what the application has given back: its tokens are due, and
// its connections hold less.
func (z *zcrx) collect() {
	if z.group != nil {
		z.group.collect(z)
		return
	}
	for {
		n := z.l.pool.TakeBack(z.ids[:])
		z.settle(z.ids[:n])
		if n < len(z.ids) {
			return
		}
	}
}

// settle takes the records of buffers. Most have one, and are of one connection
// in a row.
func (z *zcrx) settle(buffers []uint16) {
	for len(buffers) > 0 {
		if owner, is := z.records.sole(buffers[0]); is {
			n := z.takeSole(buffers, owner)
			if s := z.l.table.find(owner); s != nil {
				s.zc.held -= n
				s.zc.alone -= n
			}
			buffers = buffers[n:]
			continue
		}
		z.settleAll(buffers[0])
		buffers = buffers[1:]
	}
}

// takeSole takes the records of the first of buffers, each of which has but its own, of owner,
// and returns how many they were. What is due for them goes straight to the refill ring, unless
// others wait for room there, or other rings write to it.
func (z *zcrx) takeSole(buffers []uint16, owner token) (n int) {
	if z.group == nil && z.dues.len() == 0 {
		if room := z.rq.Room(len(buffers)); len(room) > 0 {
			n = z.records.takeSole(buffers, owner, room)
			z.rq.Wrote(n)
			z.rq.Publish()
			return n
		}
	}
	n = z.records.takeSole(buffers, owner, z.dues.room(len(buffers)))
	z.dues.added(n)
	return n
}

// settleAll takes the records of buffer b.
func (z *zcrx) settleAll(b uint16) {
	for i := z.records.take(b); i != 0; i = z.records.drop(i) {
		r := &z.records.all[i]
		z.dues.add(r.token)
		s := z.l.table.find(r.owner)
		if s == nil {
			continue
		}
		if r.pays {
			s.zc.held--
		}
		if r.alone {
			s.zc.alone--
		}
	}
}

// giveBack hands to the kernel what is due, and has it look there if it would
// not by itself when it needs to: without a device never, with one only when the
// NIC has used up what it has.
func (z *zcrx) giveBack() error {
	if z.group != nil {
		z.group.mu.Lock()
		defer z.group.mu.Unlock()
	}
	z.dues.move(z.rq)
	for z.canFlush && (z.flush || z.dues.len() > 0 || z.unlooked()) {
		z.flush = false
		before := z.rq.InFlight()
		if before == 0 {
			break
		}
		z.l.stats.syscalls.Add(1)
		z.stats.flushes.Add(1)
		switch err := z.ifq.Flush(); {
		case errors.Is(err, uring.ErrNotSupported):
			z.canFlush = false
		case err != nil:
			return err
		}
		left := z.rq.InFlight()
		z.dues.move(z.rq)
		if left >= before {
			break // it does not take any
		}
	}
	z.flush = false
	return nil
}

// unlooked reports whether the kernel has few buffers left, for it has not
// looked into the refill ring, and nobody but we makes it.
func (z *zcrx) unlooked() bool {
	return z.o.NoDevice && z.rq.InFlight() > 0 && 2*z.kernelFree() < z.total
}

// kernelFree is how many buffers the kernel itself knows as free, the NIC's
// included: as many at least, for completions may share one. The caller holds the
// group's lock, if there is a group.
func (z *zcrx) kernelFree() int {
	return z.total - z.records.out - z.others.out - z.dues.len() - z.rq.InFlight()
}

// noneLeft reports whether the kernel has no free buffer.
func (z *zcrx) noneLeft() bool {
	if z.group != nil {
		z.group.mu.Lock()
		defer z.group.mu.Unlock()
	}
	return z.kernelFree() <= 0
}
