//go:build linux

package kernel

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/uring/uringtest"
)

// A request that the kernel has left asleep, for no reason that could be known, is
// made anew, and no byte is lost. The end of the stream is behind what it left.
func TestZCRXDeaf(t *testing.T) {
	for name, tc := range map[string]struct {
		z ZCRXOptions
		k uringtest.Options
	}{
		"no-device": {noDevice, uringtest.Options{Deaf: 3}},
		"device":    {device, uringtest.Options{Deaf: 7, Device: true, Chunk: 1448}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.k.Stalls = true
			w := zcrxOn(t, options{tune: func(t *tuning) { t.stallEvery = 5 * time.Millisecond }}, tc.z, tc.k)
			c, p := w.connect()
			const pieces, size = 20, 20_000
			for i := range pieces { // one when all before has come: nothing else wakes the request
				w.ok(second(p.Write(at(int64(i*size), size))))
				w.eventually("it came", func() bool { return c.Queue().Buffered() == (i+1)*size })
			}
			w.ok(p.CloseWrite())
			w.wantEOF(c, pieces*size)
			if w.event("stalled") == 0 || w.event("kicked") < w.event("stalled") {
				w.Errorf("no request was found asleep: %v", w.stats().Events)
			}
			w.wantReturned()
		})
	}
}

// Where the kernel tells, nobody looks, and the loop sleeps as long as it likes.
func TestZCRXStallsAreNotLookedFor(t *testing.T) {
	z, c, _ := alone(t, 16)
	z.l.stallEvery = time.Millisecond
	c.ops |= reqRecv
	for _, sleeps := range []bool{false, true} {
		z.sleeps = sleeps
		want := time.Duration(-1)
		if sleeps {
			want = time.Millisecond
		}
		if got := z.patience(-1); got != want {
			t.Errorf("may leave asleep %v: it sleeps for %v", sleeps, got)
		}
		before := z.l.stats.syscalls.Load()
		z.findStalled()
		if looked := z.l.stats.syscalls.Load() > before; looked != sleeps {
			t.Errorf("may leave asleep %v: it looked: %v", sleeps, looked)
		}
	}
}
