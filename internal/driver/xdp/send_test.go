//go:build linux

package xdp

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// TestSend: frames go out with link addresses and checksums, whatever their
// length and wherever their pieces are cut.
func TestSend(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	k := ks[0]
	hops := static{dst4: mac4, dst6: mac6}
	var sent uint64
	for _, tt := range []struct {
		name  string
		dst   netip.Addr
		proto uint8
		size  int
	}{
		{"UDP", dst4, wire.ProtoUDP, 1000},
		{"UDP, odd", dst4, wire.ProtoUDP, 1001},
		{"UDP over IPv6", dst6, wire.ProtoUDP, 1200},
		{"TCP without payload", dst4, wire.ProtoTCP, 0},
		{"TCP, several buffers", dst6, wire.ProtoTCP, 8900},
		{"TCP, a buffer just full", dst4, wire.ProtoTCP, 4096 - 14 - 40},
		{"TCP, a byte more", dst4, wire.ProtoTCP, 4096 - 14 - 40 + 1},
	} {
		f := packetTo(t, tt.dst, tt.proto, noise(uint64(tt.size), tt.size))
		before := whole(&f)
		if n, err := d.Send(0, []driver.TxFrame{f}); n != 1 || err != nil {
			t.Fatalf("%s: Send = %d, %v", tt.name, n, err)
		}
		sent++
		if kicks := k.kicks(); kicks != 1 {
			t.Errorf("%s: %d system calls, want 1", tt.name, kicks)
		}
		frames := k.transmit(2)
		if len(frames) != 1 {
			t.Fatalf("%s: %d frames went out", tt.name, len(frames))
		}
		got := frames[0]
		var e wire.Ethernet
		if c := wire.ParseEthernet(got, len(got), &e); c != wire.OK || e.Src != ourMAC || e.Dst != hops[tt.dst] {
			t.Errorf("%s: link header %+v, %v", tt.name, e, c)
		}
		var p wire.Packet
		if c := wire.ParseIP(got[14:], len(got)-14, wire.Verify, &p); c != wire.OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		if c := p.VerifyL4(got[14:]); c != wire.OK {
			t.Errorf("%s: checksum: %v", tt.name, c)
		}
		at := f.CsumStart + f.CsumOffset
		copy(before[:12], got[:12])
		copy(before[at:at+2], got[at:at+2])
		if !bytes.Equal(got, before) {
			t.Errorf("%s: the frame is not the one that was sent", tt.name)
		}
		if !bytes.Equal(f.Head[:12], make([]byte, 12)) {
			t.Errorf("%s: Send has written to the caller's bytes", tt.name)
		}
	}
	if s := statsOf(d); s.TxFrames != sent || s.TxDropped != 0 || s.TxCalls != sent {
		t.Errorf("stats %+v", s)
	}
}

// TestSendRefuses: what is dropped, and under which name it is counted.
func TestSendRefuses(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	good := packetTo(t, dst4, wire.ProtoUDP, noise(1, 100))
	with := func(f func(f *driver.TxFrame)) driver.TxFrame { g := good; f(&g); return g }
	frames := []driver.TxFrame{
		good,
		packetTo(t, dst4, wire.ProtoUDP, noise(1, 9001-28)), // longer than the MTU
		{},
		{Head: good.Head[:13]},
		with(func(f *driver.TxFrame) { f.GSOSize = 50 }),
		with(func(f *driver.TxFrame) { f.CsumStart = -1 }),
		with(func(f *driver.TxFrame) { f.CsumStart = 13 }),
		with(func(f *driver.TxFrame) { f.CsumOffset = -1 }),
		with(func(f *driver.TxFrame) { f.CsumOffset = 7 }), // ends behind the headers
		with(func(f *driver.TxFrame) { f.CsumStart, f.CsumOffset = math.MaxInt, math.MaxInt }),
		with(func(f *driver.TxFrame) { f.Head = f.Head[:14+19]; f.CsumStart = 0 }), // no destination to see
		packetTo(t, netip.MustParseAddr("192.0.2.99"), wire.ProtoUDP, nil),
		packetTo(t, netip.MustParseAddr("2001:db8::99"), wire.ProtoUDP, nil),
		with(func(f *driver.TxFrame) { f.GSOSize = 100 }), // one segment: sent as it is
	}
	if n, err := d.Send(0, frames); n != len(frames) || err != nil {
		t.Fatalf("Send = %d, %v; want %d", n, err, len(frames))
	}
	if c := d.TxCounters(); c != (TxCounters{Refused: 9, Unresolved: 1}) || len(d.tx.unresolved) != 2 {
		t.Errorf("counters %+v, %d wait", c, len(d.tx.unresolved))
	}
	if s := statsOf(d); s.TxFrames != 2 || s.TxDropped != 10 {
		t.Errorf("stats %+v", s)
	}
	if out := ks[0].transmit(10); len(out) != 2 {
		t.Errorf("%d frames went out, want 2", len(out))
	}
	d.link.up = false
	if n, err := d.Send(0, frames); n != len(frames) || err != nil || d.TxCounters().Down != uint64(n) {
		t.Errorf("Send while the interface is down = %d, %v; %+v", n, err, d.TxCounters())
	}
	d.link.up = true
	d.tx.resolver, d.tx.unresolved = nil, nil
	if n, err := d.Send(0, frames[:1]); n != 1 || err != nil || d.TxCounters().Unresolved != 2 {
		t.Errorf("Send without a resolver = %d, %v; %+v", n, err, d.TxCounters())
	}
}

// counting is a Resolver that counts.
type counting struct {
	static
	asked int
}

func (c *counting) MAC(dst netip.Addr) ([6]byte, bool) { c.asked++; return c.static.MAC(dst) }

// TestResolver is asked once for a run of frames to one address, and again in
// the next Send: what it says changes.
func TestResolver(t *testing.T) {
	c := fakeConfig(newPool(t, 128, false), 64, 32)
	r := &counting{static: static{dst4: mac4, dst6: mac6}}
	c.Resolver = r
	d, ks := fake(t, c, 1)
	a, b := packetTo(t, dst4, wire.ProtoUDP, nil), packetTo(t, dst6, wire.ProtoUDP, nil)
	for i := range 2 {
		if n, err := d.Send(0, []driver.TxFrame{a, a, a, b, b, a}); n != 6 || err != nil {
			t.Fatal(n, err)
		}
		if r.asked != 3*(i+1) {
			t.Errorf("the resolver was asked %d times, want 3 for each Send", r.asked)
		}
		for j, f := range ks[0].transmit(6) {
			want := r.static[[]netip.Addr{dst4, dst4, dst4, dst6, dst6, dst4}[j]]
			if [6]byte(f) != want {
				t.Errorf("frame %d goes to %x, want %x", j, f[:6], want)
			}
		}
		r.static = static{dst4: mac6, dst6: mac4}
	}
}

// TestSendFull: Send takes what there are buffers for, and the rest when those
// before were sent; nothing is lost, and the order is kept.
func TestSendFull(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	k := ks[0]
	var frames []driver.TxFrame
	for i := range 50 {
		frames = append(frames, packetTo(t, dst4, wire.ProtoUDP, noise(uint64(i), 5000))) // two buffers
	}
	n, err := d.Send(0, frames)
	if n != 16 || err != nil || !d.tx.short {
		t.Fatalf("Send = %d, %v; want 16", n, err)
	}
	if more, err := d.Send(0, frames[n:]); more != 0 || err != nil {
		t.Fatalf("Send to a full wire = %d, %v; want 0", more, err)
	}
	for i := 0; i < len(frames); {
		out := k.transmit(5)
		for _, f := range out {
			if !bytes.Equal(f[14+28:], noise(uint64(i), 5000)) {
				t.Fatalf("frame %d is not as it was sent", i)
			}
			i++
		}
		more, err := d.Send(0, frames[n:])
		if err != nil || n < len(frames) && more != min(len(out), len(frames)-n) {
			t.Fatalf("Send = %d, %v; want %d", more, err, len(out))
		}
		n += more
	}
	if d.tx.short || d.tx.flying != 0 || len(d.tx.idle) != 32 {
		t.Errorf("short %v, %d buffers on their way, %d not; want all 32 back", d.tx.short, d.tx.flying, len(d.tx.idle))
	}
}

// TestNoNeedToWake: no system call while the kernel looks by itself.
func TestNoNeedToWake(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	*ks[0].txFlags = 0
	f := []driver.TxFrame{packetTo(t, dst4, wire.ProtoUDP, nil)}
	for range 3 {
		if n, err := d.Send(0, f); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if k := ks[0].kicks(); k != 0 || statsOf(d).TxCalls != 0 {
		t.Errorf("%d system calls", k)
	}
	if out := ks[0].transmit(9); len(out) != 3 {
		t.Errorf("%d frames went out, want 3", len(out))
	}
}

// TestHostileCompletions: a buffer comes back only if it was sent from, and once.
func TestHostileCompletions(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	k := ks[0]
	f := []driver.TxFrame{packetTo(t, dst4, wire.ProtoUDP, nil)}
	if n, err := d.Send(0, f); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	addr := k.out[0].Addr
	posted, _ := k.alloc(1)
	for _, a := range []uint64{1 << 60, 128 * 4096, posted[0], d.ledger.addr(d.tx.idle[0]), addr, addr, addr + 5} {
		k.complete(a)
	}
	d.reap()
	if len(d.tx.idle) != 32 || d.tx.flying != 0 || d.ledger.count(idle) != 32 || d.ledger.count(receiving) != 64 {
		t.Errorf("%d buffers to send from, %d on their way; ledger %d and %d",
			len(d.tx.idle), d.tx.flying, d.ledger.count(idle), d.ledger.count(receiving))
	}
	seen := map[uint16]bool{}
	for _, id := range d.tx.idle {
		if seen[id] {
			t.Fatalf("buffer %d is there twice", id)
		}
		seen[id] = true
	}
}

// TestPending: what the kernel did not take at once it is asked to take again,
// by Poll, and Wait does not sleep over it.
func TestPending(t *testing.T) {
	c := fakeConfig(newPool(t, 2048, false), 64, 1024)
	d, ks := fake(t, c, 1)
	f := []driver.TxFrame{packetTo(t, dst4, wire.ProtoUDP, nil)}
	// The other end of what stands for the socket reads nothing: EAGAIN.
	sent := 0
	for ; !d.tx.pending; sent++ {
		if n, err := d.Send(0, f); n != 1 || err != nil {
			t.Fatalf("Send %d = %d, %v", sent, n, err)
		}
	}
	b := driver.NewBatch(1, 18)
	poll(t, d, b, 0)
	if !d.tx.pending {
		t.Fatal("not pending, though the kernel takes nothing")
	}
	done := waiting(t, d, 0)
	returns(t, done)
	if k := ks[0].kicks(); k == 0 {
		t.Fatal("no system call at all")
	}
	poll(t, d, b, 0)
	if d.tx.pending || ks[0].kicks() != 1 {
		t.Errorf("pending %v; want one more system call, and all taken", d.tx.pending)
	}
	if out := ks[0].transmit(2 * sent); len(out) != sent {
		t.Errorf("%d frames went out of %d", len(out), sent)
	}
}

// TestCloseDrains: Close waits until what was sent has left, but not for ever.
func TestCloseDrains(t *testing.T) {
	for _, tt := range []struct{ leaves, pauses, left int }{
		{leaves: 0, pauses: 0, left: 0}, // before Close
		{leaves: 5, pauses: 5, left: 0},
		{leaves: -1, pauses: drainPauses, left: 3}, // never
	} {
		d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
		f := packetTo(t, dst4, wire.ProtoUDP, nil)
		if n, err := d.Send(0, []driver.TxFrame{f, f, f}); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		pauses := 0
		at := func() {
			if pauses == tt.leaves {
				ks[0].transmit(3)
			}
		}
		at()
		d.sleep = func(time.Duration) { pauses++; at() }
		fatal(t, d.Close())
		if left := d.tx.flying; left != tt.left || pauses != tt.pauses {
			t.Errorf("sent during pause %d: Close made %d pauses, want %d, and left %d, want %d", tt.leaves, pauses, tt.pauses, left, tt.left)
		}
	}
}

// TestUnresolved: a frame to a neighbor that was not found yet is sent when it is, in
// its turn, or dropped and counted after a while; so many wait, and no more.
func TestUnresolved(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	known := static{}
	d.tx.resolver = known
	now := mono.Now()
	send := func(dst netip.Addr, n int) driver.TxFrame {
		f := packetTo(t, dst, wire.ProtoUDP, noise(uint64(n), 100+n))
		f.CsumStart, f.CsumOffset = 0, 0 // so that the bytes stay as they are
		all := slices.Concat(f.Head, f.Payload[0], f.Payload[1])
		if k, err := d.Send(now, []driver.TxFrame{f}); k != 1 || err != nil {
			t.Fatalf("Send = %d, %v", k, err)
		}
		clear(f.Payload[0]) // which is the caller's again
		f.Head, f.Payload = all, [2][]byte{}
		return f
	}
	poll := func() [][]byte {
		if err := d.Poll(now, driver.NewBatch(1, 1)); err != nil {
			t.Fatal(err)
		}
		return ks[0].transmit(100)
	}
	later := netip.MustParseAddr("192.0.2.99")
	first, second := send(later, 1), send(later, 2)
	never := netip.MustParseAddr("192.0.2.98")
	send(never, 3)
	if l := d.limit(0); l == nil || l.Nano() > int64(resolvePause) {
		t.Errorf("Wait would sleep for %v", l)
	}
	if now = now.Add(2 * resolvePause); len(poll()) != 0 || d.TxCounters() != (TxCounters{}) {
		t.Fatalf("sent or dropped before the neighbor was found: %+v", d.TxCounters())
	}
	known[later] = [6]byte{2, 0, 0, 0, 0, 9}
	now = now.Add(resolvePause)
	out := poll()
	if len(out) != 2 {
		t.Fatalf("%d frames went out, want 2", len(out))
	}
	for i, want := range []driver.TxFrame{first, second} {
		if !bytes.Equal(out[i][12:], want.Head[12:]) || [6]byte(out[i][:6]) != known[later] {
			t.Errorf("frame %d is not the one that was sent", i)
		}
	}
	if now = now.Add(resolveTime); len(poll()) != 0 || d.TxCounters() != (TxCounters{Unresolved: 1}) || d.limit(0) != nil {
		t.Errorf("the one without a neighbor: %+v, %d wait", d.TxCounters(), len(d.tx.unresolved))
	}
	for i := range maxUnresolved + 5 {
		send(never, i%50)
	}
	if d.TxCounters().Unresolved != 6 || len(d.tx.unresolved) != maxUnresolved {
		t.Errorf("%d were dropped, %d wait", d.TxCounters().Unresolved, len(d.tx.unresolved))
	}
}
