//go:build linux

package kernel

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/uring/uringtest"
)

// A driver that makes its queue anew polls it by another NAPI instance, which is seen at
// once, however often that happens; packets that the one before has polled, and that
// waited, came in by our queue, too. What others poll is asked about once in a while.
func TestZCRXPollers(t *testing.T) {
	z := &zcrx{}
	now, fails, asked, clock := uint32(10), error(nil), 0, time.Now()
	z.o.NAPI = func() (uint32, error) { asked++; return now, fails }
	z.askPoller(clock)
	asked = 0
	for i, tc := range []struct {
		now     uint32 // what polls the queue
		fails   error  // nobody knows
		later   time.Duration
		unknown bool
		id      uint32
		want    bool
		asks    int
	}{
		{now: 10, id: 10, want: true},
		{now: 10, id: 0},
		{now: 10, id: 7, asks: 1},
		{now: 10, id: 8, asks: 1},
		{now: 10, id: 7},
		{now: 11, id: 11, want: true, asks: 1},
		{now: 12, id: 12, want: true, asks: 1},
		{now: 12, id: 10, want: true},
		{now: 12, id: 8},
		{now: 12, id: 8, later: askAgain, asks: 1},
		{now: 8, id: 8}, // within the second it is not asked again
		{now: 8, id: 8, later: askAgain, want: true, asks: 1},
		{now: 0, id: 13, unknown: true, asks: 1}, // while it is made anew
		{now: 13, id: 13, unknown: true},         // in vain just now
		{now: 13, id: 7},                         // that is known nevertheless
		{now: 13, id: 13, later: askSoon, want: true, asks: 1},
		{fails: errors.New("no"), id: 14, unknown: true, asks: 1},
		{now: 14, id: 14, later: askAgain, want: true, asks: 1},
		{now: 15, id: 15, want: true, asks: 1},
		{now: 16, id: 16, want: true, asks: 1},
		{now: 16, id: 10, asks: 1}, // long ago
	} {
		clock = clock.Add(tc.later)
		now, fails, asked = tc.now, tc.fails, 0
		if ours, known := z.polled(tc.id, clock); ours != tc.want || known == tc.unknown || asked != tc.asks {
			t.Errorf("step %d: %+v: ours %v, known %v, asked %d times", i, tc, ours, known, asked)
		}
	}
	for id := range uint32(3 * maxOthers) {
		z.polled(100+id, clock)
	}
	if n := len(z.pollers.others); n > maxOthers {
		t.Errorf("%d pollers of others are known", n)
	}
}

// A driver that can't tell what polls the queue when that is opened is asked again, not often;
// one that never can is not taken to poll it by another instance.
func TestZCRXPollerUnknownAtFirst(t *testing.T) {
	z, id, asked, clock := &zcrx{}, uint32(0), 0, time.Now()
	if z.tells(clock) {
		t.Error("it is known what polls no queue")
	}
	z.o.NAPI = func() (uint32, error) { asked++; return id, nil }
	z.askPoller(clock)
	for i, tc := range []struct {
		id    uint32
		later time.Duration
		want  bool
		asks  int
	}{
		{0, 0, false, 1},
		{0, askAgain - 1, false, 1},
		{0, 1, false, 2},
		{9, 1, false, 2},
		{9, askAgain, true, 3},
		{0, askAgain, true, 3},
	} {
		id, clock = tc.id, clock.Add(tc.later)
		if got := z.tells(clock); got != tc.want || asked != tc.asks {
			t.Errorf("step %d: %v, asked %d times, want %v, %d", i, got, asked, tc.want, tc.asks)
		}
	}
	// A connection is looked at again, once that is known.
	id = 0
	z.pollers = pollers{asked: time.Now().Add(-askAgain)}
	z.o.Incoming = func(int) (uint32, error) { return 7, nil }
	var s socket
	z.locate(&s)
	before := s.zc.elsewhere
	id = 9
	z.pollers.asked = z.pollers.asked.Add(-askAgain)
	if z.locate(&s); before || !s.zc.elsewhere || z.stats.elsewhere.Load() != 1 {
		t.Errorf("elsewhere: %v, then %v, counted %d times", before, s.zc.elsewhere, z.stats.elsewhere.Load())
	}
}

// Some times within a second the driver makes the queue anew, and for a moment can't tell
// what polls it: no byte counts as copied.
func TestZCRXQueueMadeAnew(t *testing.T) {
	var id, vain atomic.Uint32
	z := device
	z.NAPI = func() (uint32, error) {
		if vain.Load() > 0 {
			vain.Add(^uint32(0))
			return 0, nil
		}
		return id.Load(), nil
	}
	z.Incoming = func(int) (uint32, error) { return id.Load(), nil }
	id.Store(20)
	w := zcrxOn(t, options{}, z, uringtest.Options{Device: true})
	const size = 2 * locateEvery
	for i := range uint32(4) {
		c, p := w.connect()
		wait := w.sender(p, size)
		w.wantEOF(c, size)
		wait()
		vain.Store(2 * i) // so often there is no answer when the id is a new one
		id.Add(1)
	}
	if s := w.stats(); s.CopiedBytes != 0 || s.Events["other-queue"] != 0 {
		t.Errorf("%d bytes count as copied, events %v", s.CopiedBytes, s.Events)
	}
}
