package impair

import (
	"bytes"
	"errors"
	"math"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
)

func TestConfigErrors(t *testing.T) {
	p := buftest.Heap(t, 32)
	_, inner, err := mem.Pipe(mem.Config{Pool: p}, mem.Config{Pool: p})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"no pool":              {},
		"probability above 1":  {Pool: p, Drop: 1.1},
		"negative probability": {Pool: p, Corrupt: -0.1},
		"no probability":       {Pool: p, Duplicate: math.NaN()},
		"negative delay":       {Pool: p, DelayBy: -1},
		"negative jitter":      {Pool: p, DelayBy: 2, DelayJitter: -1},
		"negative limit":       {Pool: p, ReorderLimit: -1},
		"negative distance":    {Pool: p, ReorderBy: -1},
		"negative hold":        {Pool: p, Hold: -1},
		"delay by nothing":     {Pool: p, Delay: 0.5},
		"ruled, by nothing":    {Pool: p, Rules: []Rule{{From: 1, Do: Delay}}},
		"rule without a frame": {Pool: p, Rules: []Rule{{Do: Drop}}},
		"rule backwards":       {Pool: p, Rules: []Rule{{From: 3, To: 2, Do: Drop}}},
		"rule of nothing":      {Pool: p, Rules: []Rule{{From: 3}}},
		"rule of the unknown":  {Pool: p, Rules: []Rule{{From: 3, Do: 1 << 5}}},
	} {
		if _, err := New(inner, c); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
	}
}

// TestTransparent: a wire that is not bad gives the very frames that the
// decorated driver gives.
func TestTransparent(t *testing.T) {
	for name, c := range map[string]Config{
		"nothing can happen": {Seed: 1},
		"nothing happens":    {Seed: 1, Rules: []Rule{{From: 1 << 40, Do: Drop}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c, options{sender: mem.Config{MTU: 9000}})
			direct := newRig(t, Config{}, options{sender: mem.Config{MTU: 9000}})
			for _, x := range []*rig{r, direct} {
				x.send(1, 20)
				x.sendFrame(driver.TxFrame{Head: tcpFrame(src6, dst6, pattern(1, 8000))})
			}
			got := r.poll(5)
			if err := direct.inner.Poll(5, direct.batch); err != nil {
				t.Fatal(err)
			}
			want := direct.batch.Frames
			if len(got) != 21 || len(want) != 21 {
				t.Fatalf("%d frames, %d directly; want 21", len(got), len(want))
			}
			for i := range got {
				g, w := &got[i], &want[i]
				if g.Len != w.Len || g.Checksum != w.Checksum || g.GSOSize != w.GSOSize || len(g.Frags) != len(w.Frags) ||
					!bytes.Equal(g.Head, w.Head) || !bytes.Equal(r.contents(g), direct.contents(w)) {
					t.Errorf("frame %d is not what the decorated driver gives", i)
				}
			}
			r.put()
			direct.put()
			if got, want := r.bad.Counts(), (Counts{Received: 21, Delivered: 21}); got != want {
				t.Errorf("counts: %+v, want %+v", got, want)
			}
			var s, inner driver.Stats
			r.bad.Stats(&s)
			r.inner.Stats(&inner)
			if s != inner || s.RxFrames != 21 {
				t.Errorf("stats: %+v, of the decorated driver %+v", s, inner)
			}
			if r.bad.Caps() != r.inner.Caps() || r.bad.NextEvent() != 0 {
				t.Error("Caps or NextEvent is not that of the decorated driver")
			}
		})
	}
}

// TestSend: the way out is not impaired.
func TestSend(t *testing.T) {
	r := newRig(t, Config{Drop: 1}, options{})
	for n := 1; n <= 10; n++ {
		if k, err := r.bad.Send(0, []driver.TxFrame{{Head: numbered(n)}}); k != 1 || err != nil {
			t.Fatalf("Send: %d, %v", k, err)
		}
	}
	b := driver.NewBatch(16, 16)
	if err := r.sender.Poll(0, b); err != nil || len(b.Frames) != 10 {
		t.Errorf("%d frames, %v; want the 10 sent", len(b.Frames), err)
	}
	r.senderPool.PutFrags(b.Frags)
}

// TestBatchBounds: what a batch has no room for comes with the next, in order
// and unchanged, though the memory of its head was the decorated driver's.
func TestBatchBounds(t *testing.T) {
	all := Config{Rules: []Rule{{From: 1, To: 100, Do: Duplicate}}}
	for _, tt := range []struct {
		name          string
		frames, frags int
		polls         int // that deliver frames
	}{
		{"frames", 8, 64, 13}, // 100 in all
		{"frags", 64, 8, 13},
		{"one by one", 1, 1, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, all, options{frames: tt.frames, frags: tt.frags})
			r.send(1, 50)
			var got []int
			polls := 0
			for {
				ns := r.numbers(7)
				if len(ns) == 0 {
					break
				}
				got = append(got, ns...)
				polls++
				if held := r.bad.Counts().Held; held > uint64(2*tt.frames) {
					t.Fatalf("%d frames held", held)
				} else if held > 0 && r.bad.NextEvent() != 7 {
					t.Fatalf("NextEvent %v while frames wait for room", r.bad.NextEvent())
				}
			}
			var want []int
			for n := 1; n <= 50; n++ {
				want = append(want, n, n)
			}
			if !slices.Equal(got, want) || polls != tt.polls {
				t.Errorf("in %d polls, want %d: %v", polls, tt.polls, got)
			}
		})
	}

	t.Run("no overtaking", func(t *testing.T) {
		r := newRig(t, Config{Rules: []Rule{{From: 1, Do: Duplicate}}}, options{sender: mem.Config{MTU: 9000}, frames: 8, frags: 4})
		r.sendFrame(driver.TxFrame{Head: tcpFrame(src4, dst4, pattern(1, 8900))}) // three frags
		r.send(1, 1)
		var lengths []int
		for range 3 {
			for _, f := range r.poll(1) {
				lengths = append(lengths, f.Len)
			}
			r.put()
		}
		if want := []int{8940, 8940, len(numbered(1))}; !slices.Equal(lengths, want) {
			t.Errorf("frames of %v bytes, want %v", lengths, want)
		}
	})

	t.Run("too small", func(t *testing.T) {
		r := newRig(t, Config{Delay: 1, DelayBy: 1}, options{sender: mem.Config{MTU: 9000}})
		r.sendFrame(driver.TxFrame{Head: tcpFrame(src4, dst4, pattern(1, 8900))})
		r.poll(1)
		small := driver.NewBatch(1, 1)
		if err := r.bad.Poll(2, small); !errors.Is(err, syscall.EINVAL) || len(small.Frags) != 0 {
			t.Errorf("a frame of three frags in a batch of one: %v", err)
		}
		if len(r.poll(3)) != 1 {
			t.Error("the frame is gone")
		}
		r.put()
	})
}

// TestTwoBatches: what Poll left in a batch stays when another is polled.
func TestTwoBatches(t *testing.T) {
	r := newRig(t, Config{Delay: 0.5, DelayBy: 1, Corrupt: 1e-12}, options{})
	r.send(1, 30)
	first := driver.NewBatch(cap(r.batch.Frames), cap(r.batch.Frags))
	if err := r.bad.Poll(1, first); err != nil {
		t.Fatal(err)
	}
	frags := slices.Clone(first.Frags)
	var frames []driver.Frame
	for _, f := range first.Frames {
		f.Frags = slices.Clone(f.Frags)
		frames = append(frames, f)
	}
	r.send(31, 60)
	r.poll(2)
	r.put()
	if len(frames) == 0 || len(frames) == 30 || !slices.Equal(frags, first.Frags) {
		t.Fatalf("%d frames in the first batch, or they have changed", len(frames))
	}
	for i := range frames {
		if !slices.Equal(frames[i].Frags, first.Frames[i].Frags) {
			t.Errorf("the frags of frame %d have changed", i)
		}
	}
	r.pool.PutFrags(first.Frags)
	r.numbers(3)
}

// TestClose: frames held back leave no buffer behind, and no frame is lost
// track of.
func TestClose(t *testing.T) {
	r := newRig(t, Config{Delay: 0.5, DelayBy: time.Hour, Reorder: 1, Duplicate: 0.3, ReorderBy: 1000}, options{sender: mem.Config{MTU: 9000}})
	r.send(1, 50)
	r.sendFrame(driver.TxFrame{Head: tcpFrame(src6, dst6, pattern(1, 8000))})
	if n := len(r.poll(1)); n != 0 {
		t.Fatalf("%d frames not held back", n)
	}
	held := r.bad.Counts().Held
	if held <= 51 || len(r.bad.hold.delayed) == 0 || len(r.bad.hold.reordered) == 0 {
		t.Fatalf("%d frames held, %+v", held, r.bad.Counts())
	}
	for range 2 {
		if err := r.bad.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := r.pool.Census(); err != nil || c.Out() != 0 {
		t.Errorf("census: %+v, %v", c, err)
	}
	if c := r.bad.Counts(); c.Held != 0 || c.Discarded != held {
		t.Errorf("%d held, %d discarded of %d", c.Held, c.Discarded, held)
	}
	if err := r.bad.Poll(2, r.batch); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
	if err := r.bad.Wait(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
}

// brittle is a driver that ends with an error when told.
type brittle struct {
	driver.Driver
	err    error
	untils []mono.Time // that Wait was called with
	wakes  int
}

func (d *brittle) Poll(now mono.Time, b *driver.Batch) error {
	return errors.Join(d.Driver.Poll(now, b), d.err)
}

func (d *brittle) Wait(until mono.Time) error {
	d.untils = append(d.untils, until)
	return nil
}

func (d *brittle) Wake() { d.wakes++ }

// TestError: an error waits until the frames that came before it are out.
func TestError(t *testing.T) {
	gone := errors.New("gone")
	r := newRig(t, Config{Drop: 1e-12}, options{})
	inner := &brittle{Driver: r.inner, err: gone}
	r.bad.inner = inner
	r.send(1, 3)
	if got := r.numbers(1); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("before the error: %v", got)
	}
	if err := r.bad.Wait(0); err != nil || len(inner.untils) != 0 {
		t.Errorf("Wait with an error to be told: %v, waits %v", err, inner.untils)
	}
	for range 2 {
		if err := r.bad.Poll(2, r.batch); !errors.Is(err, gone) || len(r.batch.Frags) != 0 {
			t.Errorf("then: %v", err)
		}
	}
}

// TestWait: nothing due is slept over, and nothing that isn't is woken for.
func TestWait(t *testing.T) {
	c := Config{
		DelayBy: 100, ReorderBy: 2, ReorderLimit: 50,
		Rules: []Rule{{From: 1, Do: Delay}, {From: 2, Do: Reorder}, {From: 5, To: 6, Do: Duplicate}, {From: 7, Do: Reorder}},
	}
	r := newRig(t, c, options{frames: 2, frags: 2})
	inner := &brittle{Driver: r.inner}
	r.bad.inner = inner
	wait := func(until mono.Time, want ...mono.Time) {
		t.Helper()
		inner.untils = nil
		if err := r.bad.Wait(until); err != nil || !slices.Equal(inner.untils, want) {
			t.Errorf("Wait(%v) waits until %v, %v; want %v", until, inner.untils, err, want)
		}
	}
	poll := func(now mono.Time, want ...int) {
		t.Helper()
		if got := r.numbers(now); !slices.Equal(got, want) {
			t.Errorf("Poll(%v): %v, want %v", now, got, want)
		}
	}
	wait(0, 0)
	wait(7, 7)
	r.send(1, 1)
	poll(10)
	wait(0, 110)
	wait(109, 109)
	wait(111, 110)
	r.send(2, 2)
	poll(20)
	wait(0, 70)
	wait(69, 69)
	poll(70, 2)
	wait(0, 110)
	poll(110, 1)
	wait(0, 0)
	r.send(3, 6)
	poll(111, 3, 4)
	wait(0, 0)
	poll(112, 5, 5)
	wait(0) // 6 and its duplicate have had no room
	poll(112, 6, 6)
	wait(0, 0)
	r.send(7, 7)
	poll(200)
	wait(0, 250)
	r.send(8, 9)
	poll(210, 8, 9)
	wait(0) // 7 has been overtaken, and has had no room
	poll(210, 7)
	wait(0, 0)
	r.bad.Wake()
	if inner.wakes != 1 {
		t.Error("Wake does not wake the decorated driver")
	}
}

// TestWaitReal waits by the clock, over a driver that truly waits: that it
// comes back at all is the test.
func TestWaitReal(t *testing.T) {
	r := newRig(t, Config{Delay: 1, DelayBy: time.Millisecond}, options{})
	r.send(1, 1)
	now := mono.Now()
	r.poll(now)
	for len(r.batch.Frames) == 0 {
		if err := r.bad.Wait(0); err != nil {
			t.Fatal(err)
		}
		now = mono.Now()
		r.poll(now)
	}
	r.put()
}

// TestNoAllocation: neither a good wire nor a bad one allocates for frames.
func TestNoAllocation(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants allocates to remember who had which buffer")
	}
	for name, c := range map[string]Config{
		"clean": {},
		"bad": {
			Drop: 0.1, Duplicate: 0.2, Corrupt: 0.2, Delay: 0.3, Reorder: 0.2,
			DelayBy: 10, DelayJitter: 20, ReorderBy: 3, ReorderLimit: 20, Hold: 40,
		},
	} {
		r := newRig(t, c, options{frames: 32, frags: 32})
		var frames []driver.TxFrame
		for n := range 16 {
			frames = append(frames, driver.TxFrame{Head: numbered(n)})
		}
		now := mono.Time(1)
		round := func() {
			if n, err := r.sender.Send(0, frames); n != len(frames) || err != nil {
				t.Fatalf("Send: %d, %v", n, err)
			}
			now++
			r.poll(now)
			r.put()
		}
		for range 500 {
			round()
		}
		if n := testing.AllocsPerRun(200, round); n != 0 {
			t.Errorf("%s: %v allocations a round", name, n)
		}
		if c := r.bad.Counts(); (c.Overflowed > 0) != (name == "bad") {
			t.Errorf("%s: not what the test is about: %+v", name, c)
		}
	}
}
