package user

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack"
)

// TestStreaming: a pause takes a stream that is fast, each pause anew, and nobody who is
// spoken to.
func TestStreaming(t *testing.T) {
	const us, all = time.Microsecond, streamBytes
	type batch struct {
		after       time.Duration
		bytes, sent uint64
		fast        bool
	}
	for name, batches := range map[string][]batch{
		"at once":           {{0, all, 0, true}, {250 * us, all, 0, true}},
		"bit by bit":        {{0, all / 4, 0, false}, {50 * us, all / 4, 0, false}, {50 * us, all / 4, 0, false}, {100 * us, all / 4, 0, true}, {1 * us, 1, 0, false}},
		"too little":        {{0, all - 1, 0, false}, {201 * us, all - 1, 0, false}},
		"too slow":          {{0, all / 2, 0, false}, {201 * us, all / 2, 0, false}, {100 * us, all/2 - 1, 0, false}},
		"slower in the end": {{0, all, 0, true}, {250 * us, all / 2, 0, false}, {250 * us, all / 2, 0, false}, {10 * us, all / 2, 0, true}},
		"answered":          {{0, all, 1, false}, {10 * us, all - 1, 0, false}, {10 * us, all, 1, false}, {10 * us, all, 0, true}},
		"sent only":         {{0, 0, all, false}, {10 * us, 0, all, false}},
	} {
		s := streaming{wire: &restingWire{}}
		s.enter(pausing, 1e9)
		now, total := mono.Time(1e9), stack.Traffic{}
		for i, b := range batches {
			now = now.Add(b.after)
			total.StreamBytes += b.bytes
			total.SentBytes += b.sent
			s.received(now, total)
			if b.sent > 0 && s.phase != comparing {
				t.Errorf("%s: batch %d: goes on in phase %d", name, i, s.phase)
			}
			s.phase = pausing
			if got := s.take(); got != b.fast || s.take() {
				t.Errorf("%s: batch %d: fast %v, want %v, once", name, i, got, b.fast)
			}
		}
	}
}

// TestPausesThatHarm: a stream that pauses make slower is spared most of them, one that
// they don't has them nearly always, and either is found out again when that changes.
func TestPausesThatHarm(t *testing.T) {
	s := streaming{wire: &restingWire{}}
	now, total := mono.Time(1e9), stack.Traffic{}
	// run has the stream come for a second, at 3 bytes a nanosecond, as far as the window
	// lets it, and returns the part of the sleeps that were pauses.
	run := func(window float64) float64 {
		sleeps, pauses := 0, 0
		for end := now.Add(time.Second); now.Before(end); sleeps++ {
			sleep := 20 * time.Microsecond
			if s.take() {
				pauses++
				sleep = streamPause
			}
			now = now.Add(sleep)
			total.StreamBytes += uint64(min(3*float64(sleep), window))
			s.received(now, total)
		}
		return float64(pauses) / float64(sleeps)
	}
	for i := range 3 {
		if got := run(8 << 20); got < 0.5 {
			t.Errorf("%d: %.2f of the sleeps in a stream with a large window are pauses", i, got)
		}
		if got := run(256 << 10); got > 0.02 {
			t.Errorf("%d: %.2f of the sleeps in a stream with a small window are pauses", i, got)
		}
	}
	now = now.Add(time.Second)
	if s.received(now, total); s.phase != comparing || s.take() {
		t.Error("goes on where it was after a second without a byte")
	}
}

// A restingWire notes how it is told to sleep.
type restingWire struct {
	driver.Driver
	posted int
	slept  []string
	until  mono.Time
}

func (w *restingWire) Caps() driver.Caps { return driver.Caps{RxPosted: w.posted} }

func (w *restingWire) Wait(until mono.Time) error {
	w.slept, w.until = append(w.slept, "wait"), until
	return nil
}

func (w *restingWire) Linger(until mono.Time) error {
	w.slept, w.until = append(w.slept, "linger"), until
	return nil
}

// TestPauses: an engine looks at how fast streams come, and pauses for a moment, once,
// if they are fast and the driver can.
func TestPauses(t *testing.T) {
	const n = 300_000
	a, b := newHosts(t, options{})
	client, server := connect(t, a, b)
	await(t,
		func() error { return errors.Join(send(client, 1, n), client.CloseWrite()) },
		func() error { return receive(b.pool, server, 1, n) })
	closeConn(t, client)
	closeConn(t, server)
	e := b.Engine
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// Its goroutine has ended: what is its own is ours.
	if got := e.streaming.before.StreamBytes; got != n {
		t.Errorf("%d bytes of a stream of %d were seen", got, n)
	}
	// On a busy machine a tail loss probe sends a segment twice.
	got := a.streamSent(t)
	st := a.stack.Stats()
	if again := st.TCP.Retransmits + st.Recovery.TailProbes; got < n || got > n && again == 0 {
		t.Errorf("%d bytes of a stream of %d were seen to be sent, %d segments again", got, n, again)
	}
	const now = mono.Time(1e9)
	w := &restingWire{posted: 1}
	e.driver = w
	e.streaming.init(w)
	rest := func(want string) {
		t.Helper()
		w.slept = nil
		if err := e.rest(now); err != nil || !slices.Equal(w.slept, []string{want}) {
			t.Errorf("rests by %v (%v), want %s", w.slept, err, want)
		}
	}
	paused := e.rounds.pauses
	rest("wait")
	e.streaming.fast, e.streaming.phase = true, pausing
	rest("linger")
	if w.until <= now || w.until > now.Add(streamPause) {
		t.Errorf("rests for %v, want %v at most", w.until.Sub(now), streamPause)
	}
	rest("wait")
	if got := e.rounds.pauses - paused; got != 1 {
		t.Errorf("%d pauses counted, want 1", got)
	}
	for name, d := range map[string]driver.Driver{
		"leaves frames where they are": &restingWire{}, "can't linger": struct{ driver.Driver }{&restingWire{posted: 1}},
	} {
		e.streaming = streaming{fast: true, phase: pausing}
		if e.streaming.init(d); e.streaming.take() {
			t.Errorf("pauses over a driver that %s", name)
		}
	}
}

// streamSent closes h, and returns how many bytes its loop saw to be sent.
func (h *host) streamSent(t *testing.T) uint64 {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return h.streaming.before.SentBytes
}
