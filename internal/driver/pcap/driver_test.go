package pcap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
)

// A rig records one end of a wire; peer is the other.
type rig struct {
	pool, peerPool *buf.Pool

	tap   *Driver
	peer  *mem.End
	batch *driver.Batch
}

func newRig(t testing.TB, w io.Writer, c Config, m mem.Config) *rig {
	t.Helper()
	r := &rig{pool: buftest.Heap(t, 64), peerPool: buftest.Heap(t, 64), batch: driver.NewBatch(32, 64)}
	peer := m
	m.Pool, peer.Pool = r.pool, r.peerPool
	end, other, err := mem.Pipe(m, peer)
	if err != nil {
		t.Fatal(err)
	}
	c.Pool = r.pool
	r.peer = other
	if r.tap, err = New(end, w, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range []driver.Driver{r.tap, r.peer} {
			if err := d.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return r
}

// poll polls the tap for want frames and hands them to look before it puts them
// back.
func (r *rig) poll(t testing.TB, now mono.Time, want int, look func([]driver.Frame)) {
	t.Helper()
	if err := r.tap.Poll(now, r.batch); err != nil || len(r.batch.Frames) != want {
		t.Fatalf("Poll: %d frames, %v; want %d", len(r.batch.Frames), err, want)
	}
	if look != nil {
		look(r.batch.Frames)
	}
	r.pool.PutFrags(r.batch.Frags)
}

// TestRecord reads back what went both ways.
func TestRecord(t *testing.T) {
	epoch := time.Date(2026, 7, 1, 12, 30, 0, 999_999_990, time.UTC)
	for _, tt := range []struct {
		name string
		mem  mem.Config
		link uint32
		snap int
	}{
		{"raw", mem.Config{}, 101, 0},
		{"raw, no split", mem.Config{NoSplit: true}, 101, 0},
		{"ethernet", mem.Config{LinkHeader: 14}, 1, 0},
		{"ethernet, no split, snaplen", mem.Config{LinkHeader: 14, NoSplit: true}, 1, 100},
		{"snaplen in the head", mem.Config{}, 101, 20},
		{"snaplen in the payload", mem.Config{}, 101, 96},
		{"snaplen of one frame's length", mem.Config{}, 101, 28 + 500},
		{"snaplen 1", mem.Config{}, 101, 1},
		{"largest snaplen", mem.Config{}, 101, 262144},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.mem.MTU = 9000
			var out bytes.Buffer
			r := newRig(t, &out, Config{Snaplen: tt.snap, Epoch: epoch}, tt.mem)
			var want []packet
			expect := func(now mono.Time, b []byte) {
				n := len(b)
				if tt.snap > 0 {
					n = min(n, tt.snap)
				}
				want = append(want, packet{epoch.UnixNano() + int64(now), b[:n], len(b)})
			}
			a, allA := udp(src4, dst4, tt.mem.LinkHeader, 500)
			b, allB := udp(src6, dst6, tt.mem.LinkHeader, 8900)
			c, allC := udp(src4, dst4, tt.mem.LinkHeader, 0)

			if n, err := r.tap.Send(5, []driver.TxFrame{a, b}); n != 2 || err != nil {
				t.Fatalf("Send: %d, %v", n, err)
			}
			expect(5, allA)
			expect(5, allB)
			send(t, r.peer, b, c, a)
			r.poll(t, 10, 3, func(fs []driver.Frame) {
				// Who uses the buffer afterwards changes nothing that was recorded.
				for i := range fs {
					clear(fs[i].Head)
					for _, g := range fs[i].Frags {
						clear(r.pool.Region().View(g))
					}
				}
			})
			expect(10, allB)
			expect(10, allC)
			expect(10, allA)
			r.poll(t, 11, 0, nil)
			if n, err := r.tap.Send(3_000_000_011, []driver.TxFrame{c}); n != 1 || err != nil {
				t.Fatalf("Send: %d, %v", n, err)
			}
			expect(3_000_000_011, allC)

			f, err := parse(out.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			snap := uint32(tt.snap)
			if snap == 0 {
				snap = 262144
			}
			if f.linkType != tt.link || f.snaplen != snap {
				t.Errorf("link type %d, snaplen %d; want %d, %d", f.linkType, f.snaplen, tt.link, snap)
			}
			if len(f.records) != len(want) {
				t.Fatalf("%d records, want %d", len(f.records), len(want))
			}
			counts := Counts{Frames: uint64(len(want))}
			for i, p := range f.records {
				w := want[i]
				if p.at != w.at || p.length != w.length || !bytes.Equal(p.data, w.data) {
					t.Errorf("record %d at %d: %d of %d bytes; want at %d: %d of %d", i, p.at, len(p.data), p.length, w.at, len(w.data), w.length)
				}
				counts.Bytes += uint64(len(w.data))
				if len(w.data) < w.length {
					counts.Truncated++
				}
			}
			if got := r.tap.Counts(); got != counts || r.tap.Err() != nil {
				t.Errorf("counts: %+v, %v; want %+v", got, r.tap.Err(), counts)
			}
		})
	}
}

// TestSuperSegment: what is longer than 65,535 bytes, in many buffers, is
// recorded as one frame, or as much of it as is asked for.
func TestSuperSegment(t *testing.T) {
	for _, snap := range []int{0, 65535, 65575, 65574} {
		var out bytes.Buffer
		r := newRig(t, &out, Config{Snaplen: snap}, mem.Config{})
		payload := make([]byte, 65535)
		for i := range payload {
			payload[i] = byte(i ^ i>>8)
		}
		inner := &crafted{Driver: r.tap.inner, pool: r.pool, head: bytes.Repeat([]byte{6}, 40), payload: payload}
		r.tap.inner = inner
		r.poll(t, 1, 1, nil)
		f, err := parse(out.Bytes())
		if err != nil || len(f.records) != 1 {
			t.Fatalf("%d records, %v", len(f.records), err)
		}
		all := append(inner.head, payload...)
		if snap > 0 {
			all = all[:snap]
		}
		if p := f.records[0]; p.length != 65575 || !bytes.Equal(p.data, all) {
			t.Errorf("snaplen %d: %d bytes of %d", snap, len(p.data), p.length)
		}
	}
}

// crafted is a driver that receives one frame, again and again.
type crafted struct {
	driver.Driver
	pool          *buf.Pool
	head, payload []byte
}

func (d *crafted) Poll(_ mono.Time, b *driver.Batch) error {
	b.Reset()
	size := d.pool.Region().BufferSize()
	for off := 0; off < len(d.payload); off += size {
		var id [1]uint16
		if d.pool.Alloc(id[:]) == 0 {
			return errors.New("no buffer")
		}
		n := copy(d.pool.Region().Buffer(id[0]), d.payload[off:])
		b.Frags = append(b.Frags, d.pool.Frag(id[0], 0, n))
	}
	b.Frames = append(b.Frames, driver.Frame{Head: d.head, Frags: b.Frags, Len: len(d.head) + len(d.payload)})
	return nil
}

// TestSentOnly: of what is to be sent, what the wire took is recorded.
func TestSentOnly(t *testing.T) {
	var out bytes.Buffer
	r := newRig(t, &out, Config{}, mem.Config{QueueFrames: 2})
	a, all := udp(src4, dst4, 0, 50)
	if n, err := r.tap.Send(0, []driver.TxFrame{a, a, a}); n != 2 || err != nil {
		t.Fatalf("Send: %d, %v", n, err)
	}
	if f, err := parse(out.Bytes()); err != nil || len(f.records) != 2 || !bytes.Equal(f.records[1].data, all) {
		t.Errorf("%d records, %v; want 2", len(f.records), err)
	}
}

// failing is a writer that takes so many writes, and then a part of one.
type failing struct {
	bytes.Buffer
	good  int
	part  int
	err   error
	calls int
}

func (w *failing) Write(p []byte) (int, error) {
	w.calls++
	if w.good--; w.good >= 0 {
		return w.Buffer.Write(p)
	}
	n := min(w.part, len(p))
	w.Buffer.Write(p[:n])
	return n, w.err
}

// TestWriteErrors: the traffic goes on, the recording ends, and who asks is told.
func TestWriteErrors(t *testing.T) {
	full := errors.New("disk full")
	for name, w := range map[string]*failing{
		"nothing written": {good: 2, err: full},
		"a part written":  {good: 2, part: 30, err: full},
		"short write":     {good: 2, part: 30},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, w, Config{}, mem.Config{})
			a, all := udp(src4, dst4, 0, 100)
			send(t, r.tap, a) // the file's header, and this: two good writes
			for range 3 {
				send(t, r.tap, a, a)
				send(t, r.peer, a, a)
				r.poll(t, 0, 2, func(fs []driver.Frame) {
					for i := range fs {
						if fs[i].Len != len(all) || !bytes.Equal(r.pool.Region().View(fs[i].Frags[0]), all[28:]) {
							t.Error("the traffic is disturbed")
						}
					}
				})
			}
			want := w.err
			if want == nil {
				want = io.ErrShortWrite
			}
			if !errors.Is(r.tap.Err(), want) {
				t.Errorf("Err: %v, want %v", r.tap.Err(), want)
			}
			if got, want := r.tap.Counts(), (Counts{Frames: 1, Bytes: 128, Lost: 12}); got != want {
				t.Errorf("counts: %+v, want %+v", got, want)
			}
			if w.calls != 3 {
				t.Errorf("%d writes, want none after the failure", w.calls)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	p := buftest.Heap(t, 64)
	inner, _, err := mem.Pipe(mem.Config{Pool: p}, mem.Config{Pool: p})
	if err != nil {
		t.Fatal(err)
	}
	odd := &oddLink{inner}
	for _, tt := range []struct {
		name   string
		inner  driver.Driver
		w      io.Writer
		config Config
	}{
		{"no pool", inner, io.Discard, Config{}},
		{"no writer", inner, nil, Config{Pool: p}},
		{"negative snaplen", inner, io.Discard, Config{Pool: p, Snaplen: -1}},
		{"more than tcpdump reads", inner, io.Discard, Config{Pool: p, Snaplen: 262145}},
		{"before 1970", inner, io.Discard, Config{Pool: p, Epoch: time.Unix(-1, 0)}},
		{"after 2106", inner, io.Discard, Config{Pool: p, Epoch: time.Unix(math.MaxUint32+1, 0)}},
		{"unknown link", odd, io.Discard, Config{Pool: p}},
	} {
		if _, err := New(tt.inner, tt.w, tt.config); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", tt.name, err)
		}
	}
	full := errors.New("disk full")
	if _, err := New(inner, &failing{err: full}, Config{Pool: p}); !errors.Is(err, full) {
		t.Errorf("a writer that fails at once: %v", err)
	}
}

type oddLink struct{ driver.Driver }

func (*oddLink) Caps() driver.Caps { return driver.Caps{LinkHeader: 4} }

// TestTransparent: all the rest is the decorated driver's.
func TestTransparent(t *testing.T) {
	r := newRig(t, io.Discard, Config{}, mem.Config{})
	a, _ := udp(src4, dst4, 0, 10)
	send(t, r.peer, a)
	r.poll(t, 0, 1, nil)
	var s driver.Stats
	r.tap.Stats(&s)
	if s.RxFrames != 1 || r.tap.Caps() != r.peer.Caps() {
		t.Errorf("stats %+v, caps %+v", s, r.tap.Caps())
	}
	done := make(chan error)
	go func() { done <- r.tap.Wait(0) }()
	r.tap.Wake()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := r.tap.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.tap.Poll(0, r.batch); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
	if n, err := r.tap.Send(0, []driver.TxFrame{a}); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %d, %v", n, err)
	}
	if got := r.tap.Counts(); got.Frames != 1 {
		t.Errorf("%d frames recorded, want 1", got.Frames)
	}
}

// sizes is a writer that knows how long the writes were.
type sizes []int

func (s *sizes) Write(p []byte) (int, error) {
	*s = append(*s, len(p))
	return len(p), nil
}

// TestWrites: one write a batch, unless the batch is large.
func TestWrites(t *testing.T) {
	const frame = 16 + 9000
	for _, tt := range []struct {
		frames int
		want   []int
	}{
		{1, []int{24, frame}},
		{29, []int{24, 29 * frame}},
		{30, []int{24, 30 * frame}},
		{32, []int{24, 30 * frame, 2 * frame}},
	} {
		var w sizes
		r := newRig(t, &w, Config{}, mem.Config{MTU: 9000})
		a, _ := udp(src4, dst4, 0, 9000-28)
		frames := make([]driver.TxFrame, tt.frames)
		for i := range frames {
			frames[i] = a
		}
		send(t, r.tap, frames...)
		if fmt.Sprint(w) != fmt.Sprint(tt.want) {
			t.Errorf("%d frames: writes of %v bytes, want %v", tt.frames, w, tt.want)
		}
	}
}

// TestNoAllocation: nothing is allocated once a batch of the size was seen.
func TestNoAllocation(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants allocates to remember who had which buffer")
	}
	r := newRig(t, io.Discard, Config{Snaplen: 1000}, mem.Config{})
	a, _ := udp(src4, dst4, 0, 1400)
	b, _ := udp(src6, dst6, 0, 3)
	frames := []driver.TxFrame{a, b, a}
	peer := driver.NewBatch(8, 8)
	round := func() {
		send(t, r.peer, frames...)
		r.poll(t, 1, 3, nil)
		send(t, r.tap, frames...)
		if err := r.peer.Poll(0, peer); err != nil || len(peer.Frames) != 3 {
			t.Fatalf("%d frames, %v", len(peer.Frames), err)
		}
		r.peerPool.PutFrags(peer.Frags)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}
