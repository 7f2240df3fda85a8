package udp

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
)

func newPool(t *testing.T, n int) *buf.Pool {
	t.Helper()
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: n, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	t.Cleanup(func() {
		if c, err := p.Census(); err != nil || c.Out() != 0 {
			t.Errorf("at the end: %+v, %v", c, err)
		}
		p.Close()
		p.Remove()
	})
	return p
}

// input gives s a datagram in n buffers.
func input(t *testing.T, p *buf.Pool, s *Socket, n int) (ok, first bool) {
	t.Helper()
	ids := make([]uint16, n)
	if p.Alloc(ids) != n {
		t.Fatal("the test has run out of buffers")
	}
	var frags []buf.Frag
	for _, id := range ids {
		frags = append(frags, p.Frag(id, 0, 100))
	}
	if n > 1 {
		frags[0] = frags[0].AsCopied()
	}
	if ok, first = s.Input(sockq.Message{Len: 100 * n}, frags, 0); !ok {
		p.PutFrags(frags)
	}
	return ok, first
}

func TestSocketBounds(t *testing.T) {
	p := newPool(t, 64)
	sh := &Shared{Pool: p, MaxHeld: 7}
	s := NewSocket(sh, netip.AddrPort{}, netip.AddrPort{})
	for i, want := range []struct {
		n         int
		ok, first bool
	}{{3, true, true}, {3, true, false}, {2, false, false}, {1, true, false}, {1, false, false}, {0, true, false}} {
		if ok, first := input(t, p, s, want.n); ok != want.ok || first != want.first {
			t.Errorf("%d: %v, %v; want %+v", i, ok, first, want)
		}
	}
	if s.Queue.Len() != 0 || s.Held() != 7 {
		t.Errorf("%d shown before Publish, %d held; want 0, 7", s.Queue.Len(), s.Held())
	}
	s.Publish()
	if s.Queue.Len() != 4 {
		t.Errorf("%d shown, want 4", s.Queue.Len())
	}
	if want := (Stats{Datagrams: 4, ZeroCopyBytes: 500, CopiedBytes: 200}); sh.Stats != want {
		t.Errorf("stats %+v, want %+v", sh.Stats, want)
	}
	// What the application has taken still counts, until it is returned.
	iovs, msgs := make([]buf.Iov, 8), make([]sockq.Message, 1)
	_, n, _, err := s.Queue.Poll(iovs, msgs)
	if err != nil || n != 3 {
		t.Fatalf("%d iovs, %v", n, err)
	}
	if ok, first := input(t, p, s, 1); ok || !first {
		t.Errorf("while views are out: %v, %v", ok, first)
	}
	s.Publish()
	if _, err := p.Return(iovs[:n]); err != nil {
		t.Fatal(err)
	}
	if ok, first := input(t, p, s, 3); !ok || !first {
		t.Errorf("after the return: %v, %v", ok, first)
	}
	s.Queue.Close()
	s.Queue.Drain()
}

// TestSharesOfWhatIsFree: without MaxHeld each socket leaves as much as it has.
func TestSharesOfWhatIsFree(t *testing.T) {
	p := newPool(t, 64)
	sh := &Shared{Pool: p}
	var sockets [3]*Socket
	for i := range sockets {
		s := NewSocket(sh, netip.AddrPort{}, netip.AddrPort{})
		for ok := true; ok; {
			ok, _ = input(t, p, s, 1)
			s.Publish()
		}
		sockets[i] = s
	}
	for i, want := range []int{32, 16, 8} {
		if n := sockets[i].Held(); n < want-1 || n > want+1 {
			t.Errorf("socket %d holds %d, want about %d", i, n, want)
		}
	}
	for _, s := range sockets {
		s.Queue.Close()
		s.Queue.Drain()
	}
}

// TestEmptyDatagrams: they hold no buffer, and yet not any number waits, in how many batches
// they come.
func TestEmptyDatagrams(t *testing.T) {
	p := newPool(t, 64)
	s := NewSocket(&Shared{Pool: p}, netip.AddrPort{}, netip.AddrPort{})
	taken := 0
	for i := range 2 * maxEmpty {
		if ok, _ := input(t, p, s, 0); ok {
			taken++
		}
		if i%1000 == 0 {
			s.Publish()
		}
	}
	if taken != maxEmpty {
		t.Errorf("%d were taken, want %d", taken, maxEmpty)
	}
	s.Publish()
	s.Queue.Close()
	s.Queue.Drain()
}
