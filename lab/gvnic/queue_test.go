//go:build linux

package gvnic

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

// TestNoBuffers: frames wait in the queue's memory, in order; what it has no
// room for is dropped and counted; with buffers all goes on.
func TestNoBuffers(t *testing.T) {
	x, y := pair(t, Config{}, Config{FIFO: 16 << 10})
	x.up(setup{})
	y.up(setup{noPost: true, ring: 64})
	y.oneQueue()
	q := y.rx[0]
	for episode := range 3 {
		for i := range 100 {
			x.tx[0].done(x.tx[0].send(spec{seq: uint32(i), payload: pattern(uint64(i), 1000)}.frame(t), sending{}))
		}
		fit := (16 << 10) / (1054 + frameCost)
		x.eventually("drops", func() bool { return y.dev.Stats().Rx[0].DropNoBuffers == uint64((episode+1)*(100-fit)) })
		q.idle(0)
		for i := range fit {
			q.post(1)
			r := q.wait()
			if !bytes.Equal(r.payload, pattern(uint64(i), 1000)) {
				t.Fatalf("frame %d is not as it was sent", i)
			}
		}
		q.post(3)
		q.idle(5 * time.Millisecond)
		x.tx[0].done(x.tx[0].send(spec{payload: []byte("after")}.frame(t), sending{}))
		if r := q.wait(); string(r.payload) != "after" {
			t.Fatalf("%q", r.payload)
		}
		for q.size-len(q.free) > 0 { // use up what is posted
			x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
			q.wait()
		}
	}
}

// TestPayloadFrames: exactly the pages of the buffers that were written to, kept
// when the queue goes and until a new one has written something.
func TestPayloadFrames(t *testing.T) {
	x, y := pair(t, Config{MTU: 9000}, Config{MTU: 9000})
	x.up(setup{})
	y.up(setup{ring: 64, buffer: 2048})
	y.oneQueue()
	q := y.rx[0]
	var want []uint64
	for i := range 10 {
		x.tx[0].done(x.tx[0].send(spec{payload: pattern(1, 100+i*800)}.frame(t), sending{}))
		first := len(q.free)
		q.wait()
		for _, id := range q.free[first:] {
			want = append(want, (q.bufs+uint64(id)*2048)>>12)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if got := y.dev.PayloadFrames(0); !slices.Equal(got, want) {
		t.Errorf("pages %x, want %x", got, want)
	}
	if got := y.dev.PayloadFrames(1); got == nil || len(got) != 0 {
		t.Errorf("the other queue wrote to %x", got)
	}
	if y.dev.PayloadFrames(-1) != nil || y.dev.PayloadFrames(2) != nil {
		t.Error("a queue that can't be has pages")
	}
	y.must(opDestroyRx, 0)
	if got := y.dev.PayloadFrames(0); !slices.Equal(got, want) {
		t.Errorf("after the queue is gone: %x, want %x", got, want)
	}
	q = y.createRx(0, setup{ring: 64, buffer: 4096})
	if got := y.dev.PayloadFrames(0); !slices.Equal(got, want) {
		t.Errorf("the queue is new and was not written to: %x, want %x", got, want)
	}
	q.post(1)
	x.tx[0].done(x.tx[0].send(spec{payload: pattern(1, 100)}.frame(t), sending{}))
	q.wait()
	if got := y.dev.PayloadFrames(0); len(got) != 1 {
		t.Errorf("the new queue wrote one frame, to the pages %x", got)
	}
	if n := y.dev.Stats().Rx[0].Created; n != 2 {
		t.Errorf("created %d times", n)
	}
}

// TestUnaligned: a buffer that begins in the middle of a page counts for both.
func TestUnaligned(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{ring: 64, noPost: true})
	y.oneQueue()
	q := y.rx[0]
	q.bufs += 3000
	q.post(1)
	x.tx[0].send(spec{payload: pattern(1, 1400)}.frame(t), sending{})
	q.wait()
	if got, want := y.dev.PayloadFrames(0), []uint64{q.bufs >> 12, q.bufs>>12 + 1}; !slices.Equal(got, want) {
		t.Errorf("pages %x, want %x", got, want)
	}
}

// TestResize makes the queues anew with other sizes, as ethtool -G does, while
// traffic goes on.
func TestResize(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{ring: 64})
	for i, s := range []setup{{ring: 128, buffer: 2048}, {ring: 64, buffer: 4096, noSplit: true}, {ring: 512, buffer: 4096}} {
		y.oneQueue()
		y.must(opDestroyRx, 0)
		x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{})) // to no queue
		x.eventually("a frame to no queue", func() bool { return y.dev.Stats().DropNoQueue == uint64(i+1) })
		y.must(opDestroyTx, 0)
		y.rx[0], y.tx[0] = y.createRx(0, s), y.createTx(0, s.ring)
		y.rx[0].post(s.ring)
		for i := range 2*s.ring + 3 {
			x.tx[0].done(x.tx[0].send(spec{payload: pattern(uint64(i), 50)}.frame(t), sending{}))
			if r := y.rx[0].wait(); !bytes.HasSuffix(r.frame(), pattern(uint64(i), 50)) || (r.header == nil) != s.noSplit {
				t.Fatalf("ring of %d, frame %d: %+v", s.ring, i, r)
			}
			y.rx[0].post(1)
		}
		y.tx[0].done(y.tx[0].send(spec{}.frame(t), sending{}))
	}
}

// TestInterrupts: a signal masks the interrupt; what happens then is signalled
// when the driver arms it, once.
func TestInterrupts(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{})
	y.oneQueue()
	q := y.rx[0]
	none := func(what string) {
		t.Helper()
		if err := y.c.WaitInterrupt(q.block, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	some := func(what string) {
		t.Helper()
		if err := y.c.WaitInterrupt(q.block, waitTime); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	frames := y.dev.Stats().Rx[0].Frames
	packet := func() {
		t.Helper()
		x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
		frames++
		x.eventually("a packet", func() bool { return y.dev.Stats().Rx[0].Frames == frames })
	}
	db := y.irqDB[q.block]
	none("nothing has happened")
	packet()
	some("armed")
	packet()
	packet()
	none("masked by the signal")
	y.ring(db, itrEnable|3<<3)
	some("pending when armed")
	none("pending is one signal")
	y.ring(db, itrEnable|3<<3)
	none("nothing new")
	y.ring(db, 3<<3)
	packet()
	none("masked by the driver")
	y.ring(db, itrClearPending|3<<3)
	y.ring(db, itrEnable)
	none("pending was cleared")
	packet()
	some("armed again")
	if s := y.dev.Stats(); s.Held < 3 || s.Interrupts != 3 || s.Management != 0 {
		t.Errorf("%d held, %d interrupts, %d of management", s.Held, s.Interrupts, s.Management)
	}
	y.ring(len(y.irqDB), itrEnable)
	y.ring(200, itrEnable)
	if n := y.dev.Stats().BadDoorbells; n != 2 {
		t.Errorf("%d bad doorbells, want 2", n)
	}
}

// TestVectorBase: with notification vectors from 1 on, management has vector 0.
func TestVectorBase(t *testing.T) {
	g := newGuest(t, newDevice(t, Config{}))
	g.startAdmin()
	dbs := g.alloc(4096)
	g.must(opConfigure, g.alloc(4096), dbs, 1, 4, 64, 1, uint8(formatDQORDA))
	q := g.createTx(0, 64)
	g.ring(int(be.Uint32(g.at(dbs, 4))), itrEnable)
	q.done(q.send(spec{}.frame(t), sending{}))
	g.try(g.c.WaitInterrupt(1, waitTime))
	g.try(g.dev.SetFaults(Faults{LinkDown: true}))
	g.try(g.c.WaitInterrupt(0, waitTime))
}

// TestLoopback: a device on a wire with itself.
func TestLoopback(t *testing.T) {
	g := newGuest(t, newDevice(t, Config{Queues: 1}))
	Join(g.dev, g.dev)
	g.up(setup{})
	for i := range 600 {
		f := spec{payload: pattern(uint64(i), 99)}.frame(t)
		g.tx[0].done(g.tx[0].send(f, sending{}))
		if r := g.rx[0].wait(); !bytes.Equal(r.frame(), f) {
			t.Fatalf("frame %d is not as it was sent", i)
		}
		g.rx[0].post(1)
	}
}
