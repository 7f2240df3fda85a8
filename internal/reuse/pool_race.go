//go:build race

package reuse

import "sync"

// A Pool: see pool.go. This one keeps what it has for good.
type Pool[T any] struct {
	mu   sync.Mutex
	free []*T
}

// Get takes an object out, as it was put in, or returns nil: the caller makes one.
func (p *Pool[T]) Get() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return nil
	}
	v := p.free[n-1]
	p.free = p.free[:n-1]
	return v
}

// Put puts v in. The caller no longer uses it.
func (p *Pool[T]) Put(v *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, v)
}
