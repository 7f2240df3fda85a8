package mem

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
)

func TestPipeErrors(t *testing.T) {
	p := buftest.Heap(t, 16)
	for _, tt := range []struct {
		name string
		a, b Config
	}{
		{"no pool", Config{}, Config{Pool: p}},
		{"MTU below IP's minimum", Config{Pool: p, MTU: 67}, Config{Pool: p}},
		{"MTU above IP's maximum", Config{Pool: p, MTU: 65536}, Config{Pool: p}},
		{"MaxGSO above IP's maximum", Config{Pool: p, MaxGSO: 65536}, Config{Pool: p}},
		{"unknown offload", Config{Pool: p, Offload: 3}, Config{Pool: p}},
		{"GSO without checksums", Config{Pool: p, Offload: Plain, MaxGSO: 65535}, Config{Pool: p}},
		{"odd link header", Config{Pool: p, LinkHeader: 4}, Config{Pool: p, LinkHeader: 4}},
		{"different link headers", Config{Pool: p, LinkHeader: 14}, Config{Pool: p}},
		{"negative queue", Config{Pool: p, QueueFrames: -1}, Config{Pool: p}},
		{"region too small for a frame", Config{Pool: p, MaxGSO: 65535}, Config{Pool: buftest.Heap(t, 15)}},
	} {
		if _, _, err := Pipe(tt.a, tt.b); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", tt.name, err)
		}
		if _, _, err := Pipe(tt.b, tt.a); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s, ends swapped: %v, want EINVAL", tt.name, err)
		}
	}
}

// TestQueueBounds: Send takes what fits, and the rest when there is room.
func TestQueueBounds(t *testing.T) {
	of := func(sizes ...int) (fs []driver.TxFrame) {
		for i, n := range sizes {
			fs = append(fs, driver.TxFrame{Head: pattern(uint64(i), n)})
		}
		return fs
	}
	for _, tt := range []struct {
		name   string
		config Config
		frames []driver.TxFrame
		first  int // taken by the first Send
		second int // taken by another, after one frame was received
	}{
		{"frames", Config{QueueFrames: 3}, of(10, 10, 10, 10, 10), 3, 1},
		{"bytes", Config{QueueBytes: 1500}, of(1000, 500, 1, 900, 99, 1), 2, 3},
		{"a frame is always taken", Config{QueueBytes: 1}, of(1500, 1), 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, y := pipe(t, tt.config, Config{})
			if n, err := x.Send(0, tt.frames); n != tt.first || err != nil {
				t.Fatalf("Send = %d, %v; want %d", n, err, tt.first)
			}
			b := driver.NewBatch(1, 1)
			poll(t, y, b, 1)
			put(y.config.Pool, b)
			rest := tt.frames[tt.first:]
			n, err := x.Send(0, rest)
			if n != tt.second || err != nil {
				t.Fatalf("Send = %d, %v; want %d", n, err, tt.second)
			}
			for _, f := range tt.frames[1 : tt.first+n] {
				got := contents(y.config.Pool, &poll(t, y, b, 1)[0])
				put(y.config.Pool, b)
				if !bytes.Equal(got, f.Head) {
					t.Fatalf("got %d bytes, want the %d sent", len(got), len(f.Head))
				}
			}
			poll(t, y, b, 0)
		})
	}
}

// TestOrder sends frames of all lengths round the ring many times over.
func TestOrder(t *testing.T) {
	x, y := pipe(t, Config{QueueFrames: 7, QueueBytes: 5000}, Config{})
	b := driver.NewBatch(3, 3)
	r := rand.New(rand.NewPCG(1, 2))
	var sent, received uint64
	for received < 5000 {
		for range r.IntN(10) {
			size := 1 + rand.New(rand.NewPCG(sent, 3)).IntN(1500)
			if n, _ := x.Send(0, []driver.TxFrame{{Head: pattern(sent, size)}}); n == 0 {
				break
			}
			sent++
		}
		if err := y.Poll(0, b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			size := 1 + rand.New(rand.NewPCG(received, 3)).IntN(1500)
			if !bytes.Equal(contents(y.config.Pool, &b.Frames[i]), pattern(received, size)) {
				t.Fatalf("frame %d is not as it was sent", received)
			}
			received++
		}
		put(y.config.Pool, b)
	}
	if s := statsOf(y); s.RxFrames != received || statsOf(x).TxFrames != sent || statsOf(x).TxDropped != 0 {
		t.Errorf("stats: %+v and %+v of %d sent, %d received", statsOf(x), s, sent, received)
	}
}

// TestStall: without buffers frames wait, in order, and none is lost.
func TestStall(t *testing.T) {
	p := buftest.Heap(t, 4)
	x, y := pipe(t, Config{MTU: 9000}, Config{Pool: p})
	frames := []driver.TxFrame{
		udpFrame(t, src4, dst4, pattern(1, 100)),
		udpFrame(t, src4, dst4, pattern(2, 8192)),
		udpFrame(t, src4, dst4, nil),
	}
	b := driver.NewBatch(8, 8)
	for episode := uint64(1); episode <= 3; episode++ {
		held := make([]uint16, 3)
		if n := p.Alloc(held); n != 3 {
			t.Fatalf("%d buffers free, want 3", n)
		}
		send(t, x, frames...)
		check := func(stalls uint64, want ...driver.TxFrame) {
			t.Helper()
			got := poll(t, y, b, len(want))
			for i := range got {
				if !bytes.Equal(contents(p, &got[i]), flat(&want[i])) {
					t.Errorf("frame %d is not as it was sent", i)
				}
			}
			if s := statsOf(y); s.RxStalls != stalls || s.RxNoBuffer != 0 {
				t.Errorf("%d stalls, %d drops; want %d stalls", s.RxStalls, s.RxNoBuffer, stalls)
			}
		}
		check(episode, frames[0]) // took the last buffer; the next needs two
		lent := b.Frags[0]
		check(episode)
		p.Put(held[0])
		check(episode)
		p.Put(held[1])
		check(episode, frames[1:]...)
		if got := p.Region().View(lent); !bytes.Equal(got, pattern(1, 100)) {
			t.Error("a buffer that was not given back has changed")
		}
		put(p, b)
		p.Put(held[2])
		p.Put(lent.Buffer())
	}
}

// TestBatchBounds: what the batch has no room for waits for the next one.
func TestBatchBounds(t *testing.T) {
	x, y := pipe(t, Config{MTU: 9000}, Config{})
	big, small := udpFrame(t, src4, dst4, pattern(1, 8900)), udpFrame(t, src4, dst4, pattern(2, 1))
	b := driver.NewBatch(2, 4)
	for _, tt := range []struct {
		frames []driver.TxFrame
		want   []int // frames in each batch
	}{
		{[]driver.TxFrame{small, small, small, small, small}, []int{2, 2, 1, 0}},
		{[]driver.TxFrame{big, big, small}, []int{1, 2, 0}},
		{[]driver.TxFrame{small, big, big}, []int{2, 1, 0}},
	} {
		send(t, x, tt.frames...)
		for _, n := range tt.want {
			poll(t, y, b, n)
			put(y.config.Pool, b)
		}
	}
	send(t, x, small, big, small)
	tiny := driver.NewBatch(2, 2)
	poll(t, y, tiny, 1)
	put(y.config.Pool, tiny)
	if err := y.Poll(0, tiny); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Poll of a batch that can't hold the frame: %v, want EINVAL", err)
	}
	poll(t, y, b, 2)
	put(y.config.Pool, b)
}

func TestClose(t *testing.T) {
	p := buftest.Heap(t, 4)
	x, y := pipe(t, Config{MTU: 9000}, Config{Pool: p})
	frame := udpFrame(t, src4, dst4, pattern(1, 8900))
	b, after := driver.NewBatch(8, 8), driver.NewBatch(8, 8)
	send(t, x, frame, frame) // the second stalls, and the end keeps a buffer for it
	poll(t, y, b, 1)
	if s := statsOf(y); s.RxStalls != 1 {
		t.Fatalf("%d stalls, want 1", s.RxStalls)
	}
	for range 2 {
		if err := y.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := p.Census(); err != nil || c.Out() != 3 {
		t.Errorf("census after Close: %+v, %v; want the 3 buffers of the frame out", c, err)
	}
	if got := contents(p, &b.Frames[0]); !bytes.Equal(got, flat(&frame)) {
		t.Error("Close changed a frame received before")
	}
	put(p, b)
	if err := y.Poll(0, after); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
	if _, err := y.Send(0, []driver.TxFrame{frame}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if err := y.Wait(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
	y.Wake()
	send(t, x, frame) // to nowhere
	if s := statsOf(x); s.TxFrames != 2 || s.TxDropped != 1 {
		t.Errorf("sent %d, dropped %d; want 2 and 1", s.TxFrames, s.TxDropped)
	}
	poll(t, x, after, 0)
}

// TestNoAllocation: Poll and Send allocate nothing once a batch of the size was
// seen.
func TestNoAllocation(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants allocates to remember who had which buffer")
	}
	for _, c := range []Config{
		{MaxGSO: 65535, QueueBytes: 1 << 18},
		{Offload: Completed, NoSplit: true},
	} {
		x, y := pipe(t, c, c)
		frames := []driver.TxFrame{
			udpFrame(t, src4, dst4, pattern(1, 1000)),
			udpFrame(t, src4, dst4, nil),
		}
		if c.MaxGSO > 0 {
			big := udpFrame(t, src4, dst4, pattern(2, 60000))
			big.GSOSize = 1000
			frames = append(frames, big)
		}
		b := driver.NewBatch(8, 64)
		round := func() {
			for _, way := range [][2]*End{{x, y}, {y, x}} {
				send(t, way[0], frames...)
				poll(t, way[1], b, len(frames))
				put(way[1].config.Pool, b)
			}
		}
		round()
		if n := testing.AllocsPerRun(100, round); n != 0 {
			t.Errorf("%+v: %v allocations a round", c, n)
		}
	}
}
