package impair

import (
	"cmp"
	"slices"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// A held is a frame that is kept from one Poll to another, or a duplicate: its
// head and the list of its frags lie in memory of its own, and it owns the
// references of the frags.
type held struct {
	frame driver.Frame // Head and Frags are the two below
	head  []byte
	frags []buf.Frag

	due    mono.Time // when it comes out; 0: as soon as a batch has room
	number uint64    // in the order of being held, among those due at one time
	after  uint64    // reordered: comes out when so many frames were delivered
}

// keep copies f, but for its payload.
func (h *held) keep(f *driver.Frame) {
	h.head = append(h.head[:0], f.Head...)
	h.frags = append(h.frags[:0], f.Frags...)
	h.frame = *f
	h.frame.Head, h.frame.Frags = h.head, h.frags
}

// hold is the frames held back, and memory for more.
type hold struct {
	delayed   []*held // by due and number
	reordered []*held // in order; due and after grow from one to the next
	numbers   uint64

	free []*held
	// lent is those whose head is in a batch: not free before the next Poll.
	lent []*held
}

func (q *hold) len() int { return len(q.delayed) + len(q.reordered) }

// take finds memory for a frame.
func (q *hold) take() *held {
	n := len(q.free)
	if n == 0 {
		return new(held)
	}
	h := q.free[n-1]
	q.free = q.free[:n-1]
	return h
}

// recycle frees the memory of the frames delivered by the Poll before.
func (q *hold) recycle() {
	q.free = append(q.free, q.lent...)
	q.lent = q.lent[:0]
}

// delay puts h in line, to come out when it is due.
func (q *hold) delay(h *held, due mono.Time) {
	h.due, h.number = due, q.numbers
	q.numbers++
	// Most often it is the last.
	i, _ := slices.BinarySearchFunc(q.delayed, h, func(a, b *held) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.number, b.number))
	})
	q.delayed = slices.Insert(q.delayed, i, h)
}

// next is the time at which the first frame comes out, if not by being
// overtaken before; 0 if none is held. now stands for "already": delivered is
// the number of frames delivered so far.
func (q *hold) next(now mono.Time, delivered uint64) (t mono.Time) {
	if len(q.delayed) > 0 {
		if t = q.delayed[0].due; t == 0 {
			return now
		}
	}
	if len(q.reordered) > 0 {
		h := q.reordered[0]
		if h.after <= delivered {
			return now
		}
		if t == 0 || h.due.Before(t) {
			t = h.due
		}
	}
	return t
}

// close empties the lines, puts all buffers back, and returns how many frames
// there were.
func (q *hold) close(p *buf.Pool) (n int) {
	n = q.len()
	for _, line := range [...][]*held{q.delayed, q.reordered} {
		for _, h := range line {
			p.PutFrags(h.frags)
		}
	}
	*q = hold{}
	return n
}
