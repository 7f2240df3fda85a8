//go:build !race

package reuse

import "sync"

// A Pool holds objects that nobody uses now. The zero Pool is empty and ready;
// any goroutine may use it. Objects are collected as in sync.Pool.
type Pool[T any] struct {
	p sync.Pool
}

// Get takes an object out, as it was put in, or returns nil: the caller makes one.
func (p *Pool[T]) Get() *T {
	v, _ := p.p.Get().(*T)
	return v
}

// Put puts v in. The caller no longer uses it.
func (p *Pool[T]) Put(v *T) { p.p.Put(v) }
