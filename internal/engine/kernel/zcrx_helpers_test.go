//go:build linux

package kernel

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/uring/uringtest"
)

// zcrxOn starts an engine on a kernel that the test plays.
func zcrxOn(t *testing.T, o options, z ZCRXOptions, k uringtest.Options) *world {
	t.Helper()
	return newWorld(t, fakeVariant("zcrx", z, k), o)
}

var (
	noDevice = ZCRXOptions{NoDevice: true}
	device   = ZCRXOptions{Interface: 1, Queue: 1}
)

// eachZCRX runs a test with each variant of the zcrx backend.
func eachZCRX(t *testing.T, o options, f func(w *world)) {
	for _, v := range variants() {
		if v.o.Backend == BackendZCRX {
			t.Run(v.name, func(t *testing.T) { f(newWorld(t, v, o)) })
		}
	}
}

func (w *world) event(name string) uint64 { return w.stats().Events[name] }

// wantReturned closes the engine, after everything was given back, and checks
// that the kernel has every buffer again, and none twice.
func (w *world) wantReturned() {
	w.Helper()
	w.ok(w.Close())
	w.census()
	if w.kernel == nil {
		return
	}
	if got := w.kernel.Counts(); w.kernel.Out() != 0 || got.Bogus != 0 || got.Returned != got.Payload {
		w.Errorf("%d completions with payload, %d entries of the refill ring, %d of them wrong", got.Payload, got.Returned, got.Bogus)
	}
}

// poke makes the loop go round.
func (w *world) poke() {
	w.loop.returned.Store(true)
	w.loop.wake()
	time.Sleep(time.Millisecond)
}
