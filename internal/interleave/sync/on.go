//go:build interleave

package sync

import (
	"sync"

	"github.com/zctap/zctap/internal/interleave"
)

// Mutex is that of Go's sync, and a point.
type Mutex struct {
	mu       sync.Mutex
	explored interleave.Lock
}

// Lock is that of Go's sync.
func (m *Mutex) Lock() {
	if interleave.Running() {
		m.explored.Lock()
		return
	}
	m.mu.Lock()
}

// TryLock is that of Go's sync.
func (m *Mutex) TryLock() bool {
	if interleave.Running() {
		return m.explored.TryLock()
	}
	return m.mu.TryLock()
}

// Unlock is that of Go's sync.
func (m *Mutex) Unlock() {
	if interleave.Running() {
		m.explored.Unlock()
		return
	}
	m.mu.Unlock()
}
