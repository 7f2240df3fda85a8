//go:build interleave

package interleave

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// memory holds the plain stores (internal/owned) that may not be seen yet.
type memory struct{ held []held }

// A held store is one that its goroutine sees, and others see or do not.
type held struct {
	by       *thread
	w        *atomic.Uint64
	from, to uint64
}

// visible makes the i'th held store visible.
func (m *memory) visible(x *Execution, i int) {
	h := m.held[i]
	m.held = slices.Delete(m.held, i, i+1)
	if !h.w.CompareAndSwap(h.from, h.to) {
		x.fail(fmt.Sprintf("%s stored %#x to a word of its own, and another goroutine %#x, where %#x was", h.by.name, h.to, h.w.Load(), h.from))
	}
}

// release makes all that th has stored visible.
func (m *memory) release(x *Execution, th *thread) {
	for i := 0; i < len(m.held); {
		if m.held[i].by == th {
			m.visible(x, i)
			continue
		}
		i++
	}
}

// settle makes everything visible, and reports whether there was anything.
func (m *memory) settle(x *Execution) bool {
	any := len(m.held) > 0
	for len(m.held) > 0 {
		m.visible(x, 0)
	}
	return any
}

// find is the store to w that is held; -1 if none is.
func (m *memory) find(w *atomic.Uint64) int {
	return slices.IndexFunc(m.held, func(h held) bool { return h.w == w })
}

// Point is where a goroutine is about to do an operation, op, that stores what others load, or
// that orders its stores before it.
func Point(op string) {
	if x := running(); x != nil {
		x.pause(op)
		x.memory.release(x, x.current)
	}
}

// LoadPoint is Point for an operation that only loads.
func LoadPoint(op string) {
	if x := running(); x != nil {
		x.pause(op)
	}
}

// Load is an atomic load of w, which internal/owned may store to.
func Load(w *atomic.Uint64) uint64 {
	x := running()
	if x == nil {
		return w.Load()
	}
	x.pause("Load")
	i := x.memory.find(w)
	switch {
	case i < 0:
	case x.memory.held[i].by == x.current:
		return x.memory.held[i].to
	case x.path.choose(2) == 1:
		x.memory.visible(x, i)
	}
	return w.Load()
}

// Update is Point for an operation on w, which internal/owned may store to.
func Update(op string, w *atomic.Uint64) {
	Point(op)
	x := running()
	if x == nil {
		return
	}
	if i := x.memory.find(w); i >= 0 && x.path.choose(2) == 1 {
		x.memory.visible(x, i)
	}
}

// Store is internal/owned's: a store to w, which holds from, by its owner.
func Store(w *atomic.Uint64, from, to uint64) {
	x := running()
	if x == nil {
		if !w.CompareAndSwap(from, to) {
			panic("interleave: a word with one owner was changed by another")
		}
		return
	}
	x.pause("plain Store")
	if i := x.memory.find(w); i >= 0 {
		// Its own; of another's, only if that was handed over without a word.
		if h := &x.memory.held[i]; h.by == x.current && h.to == from {
			h.to = to
			return
		}
		x.memory.visible(x, i)
	}
	if v := w.Load(); v != from {
		x.fail(fmt.Sprintf("%s stores %#x to a word of its own, which holds %#x and not %#x (%s)", x.current.name, to, v, from, caller()))
	}
	x.memory.held = append(x.memory.held, held{x.current, w, from, to})
}

// Enabled reports whether this is a build that explores.
const Enabled = true

// Await is where a goroutine is about to wait until ready, which only looks.
func Await(ready func() bool) { await("wait", ready) }

// Yield is for a goroutine that goes round until another has done something: that one can go first,
// if there is one that can.
func Yield() {
	if x := running(); x != nil {
		x.current.yields = true
		await("yield", func() bool { return false })
	}
}

func await(op string, ready func() bool) {
	x := running()
	if x == nil {
		return
	}
	if x.over {
		if !ready() {
			panic(aborted{})
		}
		return
	}
	x.memory.release(x, x.current) // who sleeps has nothing to store any more
	x.current.ready = ready        // called between steps, where there are no points
	x.pause(op)
}

// A Lock is what a mutex is to the goroutines of an execution.
type Lock struct{ held bool }

// Running reports whether the caller is a goroutine of an execution.
func Running() bool { return running() != nil }

// Lock takes l when it is free.
func (l *Lock) Lock() {
	await("Lock", func() bool { return !l.held })
	l.held = true
}

// TryLock takes l if it is free.
func (l *Lock) TryLock() bool {
	Point("TryLock")
	if l.held {
		return false
	}
	l.held = true
	return true
}

// Unlock lets go of l.
func (l *Lock) Unlock() {
	Point("Unlock")
	if !l.held {
		panic("interleave: Unlock of what is not locked")
	}
	l.held = false
}
