// Package sync is what zctap's lock-free parts need of Go's sync, as interleave/atomic is of
// sync/atomic.
package sync
