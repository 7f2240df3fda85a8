package sockq

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// newPool makes a pool of heap memory, which the race detector sees, and checks
// when the test ends that every reference came back.
func newPool(t testing.TB, buffers int) *buf.Pool {
	t.Helper()
	live := buf.LiveRegions()
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		c, err := p.Census()
		if err != nil || c.Out() != 0 {
			t.Errorf("the test leaked buffers: %+v, %v", c, err)
		}
		p.Close()
		if !p.Remove() || buf.LiveRegions() != live {
			t.Error("the region was not freed")
		}
	})
	return p
}

// An engine makes payload the way that an engine does: bytes in buffers, of
// which each frag holds a kernel reference.
type engine struct {
	testing.TB
	p    *buf.Pool
	rnd  *rand.Rand
	sent uint64 // bytes of the stream made so far
	back chan struct{}
}

func newEngine(t testing.TB, buffers int) *engine {
	return &engine{TB: t, p: newPool(t, buffers), rnd: rand.New(rand.NewPCG(7, uint64(buffers)))}
}

// streamByte is byte i of every test stream.
func streamByte(i uint64) byte { return byte(i) ^ byte(i>>8) ^ byte(i>>16)*3 }

// waitForBuffers makes the engine wait when none is free, rather than fail.
func (e *engine) waitForBuffers() {
	e.back = make(chan struct{}, 1)
	e.p.OnReturn(func() {
		select {
		case e.back <- struct{}{}:
		default:
		}
	})
}

func (e *engine) alloc() uint16 {
	e.Helper()
	var id [1]uint16
	for e.p.Alloc(id[:]) != 1 {
		if e.back == nil {
			e.Fatal("no buffer free")
		}
		e.p.WantReturn()
		if e.p.Alloc(id[:]) == 1 {
			break
		}
		<-e.back
	}
	return id[0]
}

// frag makes the next n bytes of the stream, in a buffer of their own.
func (e *engine) frag(n int) buf.Frag {
	e.Helper()
	id := e.alloc()
	off := e.rnd.IntN(e.p.Region().BufferSize() - n + 1)
	f := e.p.Frag(id, off, n)
	for i, m := 0, e.p.Region().View(f); i < n; i++ {
		m[i] = streamByte(e.sent)
		e.sent++
	}
	return f
}

// frags is the next bytes of the stream as one frag of each length.
func (e *engine) frags(lens ...int) (fs []buf.Frag) {
	e.Helper()
	for _, n := range lens {
		fs = append(fs, e.frag(n))
	}
	return fs
}

// packet makes up to 1000 bytes of the stream as up to four frags of one
// buffer, some of them marked as copied.
func (e *engine) packet() (fs []buf.Frag) {
	e.Helper()
	whole := e.frag(1 + e.rnd.IntN(1000))
	for whole.Len() > 0 {
		n := whole.Len()
		if len(fs) < 3 && n > 1 && e.rnd.IntN(2) == 0 {
			n = 1 + e.rnd.IntN(n-1)
			if err := e.p.Get(whole); err != nil {
				e.Fatal(err)
			}
		}
		f := whole.Slice(0, n)
		if e.rnd.IntN(4) == 0 {
			f = f.AsCopied()
		}
		fs = append(fs, f)
		whole = whole.Slice(n, whole.Len())
	}
	return fs
}

// A reader checks that what is received is the stream.
type reader struct {
	testing.TB
	p    *buf.Pool
	got  uint64
	held []buf.Iov
}

// take checks iovs, and keeps them.
func (r *reader) take(iovs []buf.Iov) (n int) {
	r.Helper()
	for _, v := range iovs {
		r.bytes(v.Bytes())
		n += len(v.Bytes())
		if f := v.Frag(); f.Len() != len(v.Bytes()) || cap(v.Bytes()) != f.Len() || f.Len() == 0 {
			r.Fatalf("iov of %d bytes has a view of %d, cap %d", f.Len(), len(v.Bytes()), cap(v.Bytes()))
		}
	}
	r.held = append(r.held, iovs...)
	return n
}

func (r *reader) bytes(b []byte) {
	r.Helper()
	for _, c := range b {
		if want := streamByte(r.got); c != want {
			r.Fatalf("byte %d of the stream is %#x, want %#x", r.got, c, want)
		}
		r.got++
	}
}

// giveBack returns the first n iovs that are held; their bytes must not have
// changed since.
func (r *reader) giveBack(n int) {
	r.Helper()
	if k, err := r.p.Return(r.held[:n]); k != n || err != nil {
		r.Fatalf("Return accepted %d of %d, %v", k, n, err)
	}
	r.held = r.held[n:]
}

// giveBack returns iovs.
func giveBack(t testing.TB, p *buf.Pool, iovs []buf.Iov) {
	t.Helper()
	(&reader{TB: t, p: p, held: iovs}).giveBack(len(iovs))
}

// lens is the length of each iov.
func lens(iovs []buf.Iov) (n []int) {
	for i := range iovs {
		n = append(n, len(iovs[i].Bytes()))
	}
	return n
}

// join is all bytes of the iovs.
func join(iovs []buf.Iov) []byte {
	var parts [][]byte
	for i := range iovs {
		parts = append(parts, iovs[i].Bytes())
	}
	return bytes.Join(parts, nil)
}
