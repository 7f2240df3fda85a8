//go:build linux

package kernel

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/uring"
)

// A pair is two rings of a group that no loop runs, with a connection each.
type pair struct {
	*testing.T
	pool  *buf.Pool
	group *zcrxGroup
	z     [2]*zcrx
	c     [2]*conn
}

func newPair(t *testing.T, buffers int) *pair {
	first, c, _ := alone(t, buffers)
	p := &pair{T: t, pool: first.l.pool, group: &zcrxGroup{fd: -1}}
	second := &zcrx{ifq: first.ifq, unit: 4096, per: 1, total: buffers, shift: 12, areaBytes: buffers * 4096, o: noDevice, rq: first.rq}
	cfg := engine.Config{Pool: p.pool, CQ: first.l.cq}
	second.l = newLoop(cfg, defaults(cfg, Options{}))
	second.l.back, second.recv = second, second
	second.records.init(buffers, 12)
	sock, err := ksock.Packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	p.z, p.c = [2]*zcrx{first, second}, [2]*conn{c, newConn(second.l, sock)}
	for i, z := range p.z {
		z.join(p.group, buffers)
		z.batch.begin(buffers)
		if i == 1 {
			z.l.table.add(&p.c[i].socket)
			z.begin(&p.c[i].socket)
		}
	}
	unite([]*loop{first.l, second.l})
	return p
}

// lands has n bytes of payload come in buffer b for the connection of ring i.
func (p *pair) lands(i int, b uint64, off, n int) {
	p.Helper()
	p.z[i].deliver(p.c[i], uring.ZCData{Token: b<<12 + uint64(off), Len: n})
	p.c[i].queue.Publish()
}

// release takes all that came for ring i, and gives it back.
func (p *pair) release(i int) {
	p.Helper()
	iovs := make([]buf.Iov, 64)
	n, _, _, err := p.c[i].queue.Poll(iovs, 1<<30)
	if err != nil {
		p.Fatal(err)
	}
	if k, err := p.pool.Return(iovs[:n]); k != n || err != nil {
		p.Fatalf("returned %d of %d: %v", k, n, err)
	}
}

// due checks what each ring owes to the kernel after both have looked, ring i first.
func (p *pair) due(i, of0, of1 int) {
	p.Helper()
	p.z[i].collect()
	p.z[1-i].collect()
	if a, b := p.z[0].dues.len(), p.z[1].dues.len(); a != of0 || b != of1 {
		p.Errorf("%d and %d tokens are due, want %d and %d", a, b, of0, of1)
	}
}

// A buffer that two rings have records of is due by both when nobody holds it,
// whoever takes it from the pool; and not by one that has put more there since.
func TestGroupReturns(t *testing.T) {
	for taker := range 2 {
		p := newPair(t, 64)
		p.lands(0, 3, 0, 1000)
		p.lands(1, 3, 1000, 1000)
		p.lands(1, 4, 0, 1000)
		if !p.group.shared.Load() || !p.z[1].records.shared {
			t.Error("nobody knows that a buffer is shared")
		}
		p.z[0].refresh()
		if !p.z[0].records.shared {
			t.Error("the first ring does not know that a buffer is shared")
		}
		p.release(0)
		p.due(taker, 0, 0) // the other is there still
		p.release(1)
		// The taker leaves a note for the other, which gets more before it looks.
		p.z[taker].collect()
		p.lands(1-taker, 3, 2000, 1000)
		p.z[1-taker].collect()
		if n := p.z[1-taker].records.out; n != 1 {
			t.Errorf("the other has payload in %d buffers that are not due, want 1", n)
		}
		p.release(1 - taker)
		want := [2]int{1, 2}
		want[1-taker]++
		p.due(taker, want[0], want[1])
		for b := range p.group.holders {
			if h := p.group.holders[b].Load(); h != 0 {
				t.Errorf("buffer %d is said to be held by rings %#b", b, h)
			}
		}
		if p.z[0].records.out+p.z[1].records.out != 0 {
			t.Errorf("%d and %d buffers have payload", p.z[0].records.out, p.z[1].records.out)
		}
	}
}

// A ring that has taken in what is another's tells it if buffers are scarce, and else
// lets it sleep.
func TestGroupWakes(t *testing.T) {
	for _, scarce := range []bool{false, true} {
		p := newPair(t, 16)
		if p.lands(0, 0, 0, 1000); scarce {
			for b := range 12 {
				p.lands(1, uint64(1+b), 0, 4096)
			}
		}
		p.release(0)
		p.z[0].l.returned.Store(false)
		p.z[1].collect()
		if got := p.z[0].l.returned.Load(); got != scarce {
			t.Errorf("buffers are scarce: %v; the other ring is told: %v", scarce, got)
		}
	}
}

// What a ring has taken and promised others do not give away; and when it has become
// less, who waits for buffers is told.
func TestGroupBooks(t *testing.T) {
	p := newPair(t, 64)
	s := &p.c[1].socket
	look := func() (free, credit int) {
		p.z[0].publish()
		p.z[1].refresh()
		return p.z[1].free(), p.z[1].creditOf(s, p.z[1].free())
	}
	free, credit := look()
	if free != 64 {
		t.Fatalf("%d buffers are free", free)
	}
	for b := range 8 {
		p.lands(0, uint64(b), 0, 4096)
	}
	// Also when the application has given them back, until their ring has seen it.
	p.release(0)
	if f, c := look(); f != 64 || c != credit {
		t.Errorf("with all given back %d are free, and credit is %d, want 64 and %d", f, c, credit)
	}
	for b := range 8 {
		p.lands(0, uint64(8+b), 0, 4096)
	}
	if f, c := look(); f != 56 || c >= credit {
		t.Errorf("with 8 out %d are free, credit is %d, was %d", f, c, credit)
	}
	_, credit = look()
	p.z[0].promises.make(&p.c[0].socket, 20)
	if f, c := look(); f != 56 || c >= credit {
		t.Errorf("with 20 promised %d are free, credit is %d, was %d", f, c, credit)
	}
	p.z[0].l.returned.Store(false)
	p.pool.WantReturn()
	look()
	if p.z[1].l.returned.Load() {
		t.Error("told, though nothing has changed")
	}
	p.z[0].promises.drop(&p.c[0].socket)
	look()
	if !p.z[1].l.returned.Load() {
		t.Error("not told that another ring's promises were dropped")
	}
}

// A ring whose connection lacks credit has the others take back what is not used;
// and all look after those that are paused when the NIC lacks buffers.
func TestGroupAsks(t *testing.T) {
	p := newPair(t, 64)
	for _, z := range p.z {
		z.l.returned.Store(false)
	}
	p.group.ask(p.z[0], 5)
	if p.z[1].l.returned.Load() {
		t.Error("asked a ring that has nothing to take back")
	}
	s := &p.c[1].socket
	s.ops |= reqRecv
	p.z[1].promises.make(s, 10)
	p.z[1].publish()
	p.group.ask(p.z[0], 5)
	if p.z[0].l.returned.Load() || !p.z[1].l.returned.Load() {
		t.Error("the ring that can take something back is not told")
	}
	p.z[1].collect()
	if !s.cancelling || p.z[1].stats.recalled.Load() != 1 {
		t.Error("the credit was not taken back")
	}
	p.z[1].l.returned.Store(false)
	p.z[0].event(&uring.CQE{Res: 0}) // the NIC could not allocate
	if !p.z[1].scarce.Load() || !p.z[1].l.returned.Load() || p.z[0].scarce.Load() {
		t.Error("the other ring does not learn that the NIC lacks buffers")
	}
	if p.z[1].collect(); p.z[1].scarce.Load() {
		t.Error("it has not looked")
	}
}

// Bytes that the kernel says it copied count once, with whichever ring asks, and what
// that has no use for is the others'.
func TestGroupCopies(t *testing.T) {
	p := newPair(t, 16)
	p.group.debt = 3000
	p.z[1].o.NoDevice = false
	p.z[1].batch.frames, p.z[1].batch.zeroCopy = 1, 1000
	p.z[1].account()
	p.group.endRound(p.z[1])
	if c, z := p.z[1].l.stats.copied.Load(), p.z[1].stats.zeroCopy.Load(); c != 1000 || z != 0 {
		t.Errorf("%d bytes count as copied, %d as not", c, z)
	}
	if p.group.debt != 2000 || p.z[1].batch.debt != 0 {
		t.Errorf("%d bytes are left to the others, %d to itself", p.group.debt, p.z[1].batch.debt)
	}
}

// A connection whose buffers nobody else was known to be in when its payload came, but
// that another ring's have payload in, holds nothing once it has given back.
func TestGroupHoldsNothing(t *testing.T) {
	p := newPair(t, 64)
	s := &p.c[0].socket
	p.lands(0, 3, 0, 1000)
	p.lands(1, 3, 1000, 1000)
	s.dirty = false // published
	if p.z[0].holdsNothing(s) {
		t.Error("it holds nothing, with payload in its queue")
	}
	p.release(0)
	p.z[0].collect()
	if s.zc.held != 1 || !p.z[0].holdsNothing(s) {
		t.Errorf("it holds %d buffers, and nothing of it: %v", s.zc.held, p.z[0].holdsNothing(s))
	}
}
