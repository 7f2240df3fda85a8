//go:build linux

package kernel

import (
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
)

// hoardUntil is hoard again and again until it is enough: on a busy machine the sender
// may not have run for longer than hoard waits.
func (w *world) hoardUntil(c engine.Conn, enough func(held []buf.Iov) bool) (held []buf.Iov) {
	w.Helper()
	for end := time.Now().Add(patience); ; {
		held = append(held, w.hoard(c)...)
		if enough(held) {
			return held
		}
		if time.Now().After(end) {
			w.Fatalf("nothing comes after %d views, %d buffers: %+v", len(held), w.held(c), w.stats())
		}
	}
}

// holds waits until a connection keeps some buffers.
func (w *world) holds(c engine.Conn, least int) func([]buf.Iov) bool {
	return func([]buf.Iov) bool { return w.held(c) >= least }
}
