package tcp

import (
	"sync"
	"sync/atomic"
)

// A sendMemory bounds the large send blocks of all connections of a stack: what
// they have buffered for peers that do not read may not take all memory. A writer
// whom it refuses waits in line, and is handed the first block that comes back.
// Small blocks do not count: however short memory is, a connection with nothing
// under way may have one, so that each goes on, by 4 KiB a round trip. A nil
// sendMemory has no bound.
type sendMemory struct {
	limit int64        // bytes
	used  atomic.Int64 // bytes in large blocks, and handed over for one
	waits atomic.Uint64

	waiting     atomic.Int32 // writers in line; changed with mu held
	mu          sync.Mutex   // held for some instructions only, by the engine, too
	first, last *SendBuffer  // the line
}

// add takes the memory of a block, if there is enough.
func (m *sendMemory) add() bool {
	for {
		used := m.used.Load()
		if used+largeBlock > m.limit {
			return false
		}
		if m.used.CompareAndSwap(used, used+largeBlock) {
			return true
		}
	}
}

// take takes the memory of a block for b, or puts b in line for it, behind those who
// wait already. The caller holds b.mu.
func (m *sendMemory) take(b *SendBuffer) bool {
	if m == nil || b.queued && b.granted.Swap(false) {
		return true
	}
	if m.waiting.Load() == 0 && m.add() {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.granted.Swap(false) {
		return true // meanwhile
	}
	b.short.Store(true)
	if !b.inLine {
		m.waits.Add(1)
		m.join(b)
	}
	// Once more: who gave memory back before b was in line did not see it there.
	if m.first == b && m.add() {
		m.drop(b)
		b.short.Store(false)
		return true
	}
	return false
}

// give gives the memory of a block back, or hands it to the first in line.
func (m *sendMemory) give() {
	if m == nil {
		return
	}
	m.used.Add(-largeBlock)
	if m.waiting.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.first != nil && m.add() {
		b := m.first
		m.drop(b)
		b.granted.Store(true)
		b.short.Store(false)
		b.Unpark()
	}
}

// leave is for a writer that wants no more: it leaves the line, and what it was
// handed goes to the next. The caller holds b.mu.
func (m *sendMemory) leave(b *SendBuffer) {
	if m == nil || !b.queued {
		return
	}
	b.queued = false
	m.mu.Lock()
	if b.inLine {
		m.drop(b)
	}
	b.short.Store(false)
	m.mu.Unlock()
	if b.granted.Swap(false) {
		m.give()
	}
}

// join puts b at the end of the line; the caller holds m.mu and b.mu.
func (m *sendMemory) join(b *SendBuffer) {
	b.inLine, b.queued, b.before = true, true, m.last
	if m.last == nil {
		m.first = b
	} else {
		m.last.behind = b
	}
	m.last = b
	m.waiting.Add(1)
}

// drop takes b out of the line; the caller holds m.mu.
func (m *sendMemory) drop(b *SendBuffer) {
	if b.before == nil {
		m.first = b.behind
	} else {
		b.before.behind = b.behind
	}
	if b.behind == nil {
		m.last = b.before
	} else {
		b.behind.before = b.before
	}
	b.before, b.behind, b.inLine = nil, nil, false
	m.waiting.Add(-1)
}
