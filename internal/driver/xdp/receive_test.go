//go:build linux

package xdp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// TestPoll: frames of all lengths come as they were, in the buffers in which the
// kernel put them.
func TestPoll(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 18), 1)
	k := ks[0]
	b := driver.NewBatch(16, 64)
	room := 4096 - kernelHeadroom
	for _, tt := range []struct{ size, frags int }{
		{1, 1}, {14, 1}, {60, 1}, {1514, 1}, {room, 1}, {room + 1, 2}, {2 * room, 2}, {9014, 3}, {18 * room, 18},
	} {
		want := noise(uint64(tt.size), tt.size)
		if !k.deliver(want) {
			t.Fatalf("%d bytes were dropped", tt.size)
		}
		f := &poll(t, d, b, 1)[0]
		if f.Head != nil || len(f.Frags) != tt.frags || f.Len != tt.size || (f.GSOSize != 0) != (tt.size > 9000+maxLinkHeader) || f.Frags[0].Offset() != kernelHeadroom {
			t.Errorf("%d bytes: %d frags from %d on, length %d, head of %d", tt.size, len(f.Frags), f.Frags[0].Offset(), f.Len, len(f.Head))
		}
		if !bytes.Equal(contents(d.pool, f), want) {
			t.Errorf("%d bytes are not as they came", tt.size)
		}
		put(d, b)
	}
	poll(t, d, b, 0)
	if s := statsOf(d); s.RxFrames != 9 || s.RxMalformed != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestBatchBounds: what the batch has no room for waits for the next one.
func TestBatchBounds(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 18), 1)
	k := ks[0]
	big, small := noise(1, 9000), noise(2, 100)
	b := driver.NewBatch(2, 4)
	for _, tt := range []struct {
		frames [][]byte
		want   []int
	}{
		{[][]byte{small, small, small, small, small}, []int{2, 2, 1, 0}},
		{[][]byte{big, big, small}, []int{1, 2, 0}},
		{[][]byte{small, big, big}, []int{2, 1, 0}},
	} {
		for _, f := range tt.frames {
			if !k.deliver(f) {
				t.Fatal("dropped")
			}
		}
		left := tt.frames
		for _, n := range tt.want {
			for i, f := range poll(t, d, b, n) {
				if !bytes.Equal(contents(d.pool, &f), left[i]) {
					t.Errorf("frame %d of %d is not as it came", i, n)
				}
			}
			left = left[n:]
			put(d, b)
		}
	}
	b = driver.NewBatch(16, 64)
	b.MaxBytes = 250
	for range 7 {
		k.deliver(small)
	}
	for _, n := range []int{3, 3, 1, 0} {
		poll(t, d, b, n)
		put(d, b)
	}
	// One that no batch of this size can hold would be in the way for ever.
	tiny := driver.NewBatch(2, 2)
	k.deliver(big)
	k.deliver(small)
	poll(t, d, tiny, 0)
	poll(t, d, tiny, 1)
	put(d, tiny)
	if s := statsOf(d); s.RxMalformed != 1 {
		t.Errorf("%d malformed frames, want the one that was too long", s.RxMalformed)
	}
}

// TestUnfinishedFrame: a frame whose last piece has not come is left until then.
func TestUnfinishedFrame(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 18), 1)
	k := ks[0]
	b := driver.NewBatch(16, 64)
	addrs, _ := k.alloc(3)
	part := func(i int, options uint32) unix.XDPDesc {
		return unix.XDPDesc{Addr: addrs[i] + kernelHeadroom, Len: 1000, Options: options}
	}
	k.deliver(noise(1, 60))
	k.raw(part(0, unix.XDP_PKT_CONTD), part(1, unix.XDP_PKT_CONTD))
	poll(t, d, b, 1)
	put(d, b)
	poll(t, d, b, 0)
	k.raw(part(2, 0))
	if f := poll(t, d, b, 1)[0]; f.Len != 3000 || len(f.Frags) != 3 {
		t.Errorf("a frame of %d bytes in %d frags, want 3000 in 3", f.Len, len(f.Frags))
	}
	put(d, b)
}

// TestHostileDescriptors: what the kernel can't have, or can't mean, is refused
// and counted, and no buffer is lost by it.
func TestHostileDescriptors(t *testing.T) {
	p := newPool(t, 128, false)
	d, ks := fake(t, fakeConfig(p, 64, 18), 1)
	k := ks[0]
	b := driver.NewBatch(16, 64)
	taken := func() uint64 {
		a, ok := k.alloc(1)
		if !ok {
			t.Fatal("no buffer in the fill ring")
		}
		return a[0] + kernelHeadroom
	}
	k.deliver(noise(1, 60))
	given := uint64(poll(t, d, b, 1)[0].Frags[0].Buffer()) * 4096 // the application's now
	sendFrom := d.ledger.addr(d.tx.idle[0])
	var malformed uint64
	for _, tt := range []struct {
		name  string
		descs func() []unix.XDPDesc
	}{
		{"beyond the region", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: 128 * 4096, Len: 60}} }},
		{"far beyond the region", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: 1<<64 - 4096, Len: 60}} }},
		{"the application's", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: given, Len: 60}} }},
		{"one to send from", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: sendFrom, Len: 60}} }},
		{"empty", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: taken()}} }},
		{"across its end", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: taken(), Len: 4096}} }},
		{"very long", func() []unix.XDPDesc { return []unix.XDPDesc{{Addr: taken(), Len: 1<<32 - 1}} }},
		{"twice in a frame", func() []unix.XDPDesc {
			a := taken()
			return []unix.XDPDesc{{Addr: a, Len: 60, Options: unix.XDP_PKT_CONTD}, {Addr: a, Len: 60}}
		}},
		{"bad in the middle", func() []unix.XDPDesc {
			return []unix.XDPDesc{
				{Addr: taken(), Len: 60, Options: unix.XDP_PKT_CONTD},
				{Addr: given, Len: 60, Options: unix.XDP_PKT_CONTD},
				{Addr: taken(), Len: 60},
			}
		}},
	} {
		before := d.ledger.count(receiving)
		after := driver.NewBatch(16, 64)
		k.raw(tt.descs()...)
		poll(t, d, after, 0)
		malformed++
		if s := statsOf(d); s.RxMalformed != malformed {
			t.Errorf("%s: %d malformed frames, want %d", tt.name, s.RxMalformed, malformed)
		}
		if now := d.ledger.count(receiving); now > before || d.queues[0].posted != now {
			t.Errorf("%s: %d buffers posted, %d counted, of %d before", tt.name, now, d.queues[0].posted, before)
		}
	}
	// It goes on as if nothing had been.
	if !bytes.Equal(contents(p, &b.Frames[0]), noise(1, 60)) {
		t.Error("a frame received before has changed")
	}
	put(d, b)
	k.deliver(noise(2, 60))
	poll(t, d, b, 1)
	put(d, b)
	// Indices that can't be: nothing is received, and nothing lost.
	*k.rxWords.Producer += 1 << 20
	poll(t, d, b, 0)
	if d.queues[0].rx.Corruptions() == 0 {
		t.Error("an impossible index was not noticed")
	}
}

// TestRefill: the fill ring is kept at its size while buffers are free; without
// any the kernel drops, and a Put that nobody expects starts it again.
func TestRefill(t *testing.T) {
	const buffers, fill, tx = 96, 40, 18
	p := newPool(t, buffers, false)
	d, ks := fake(t, fakeConfig(p, fill, tx), 1)
	k, q := ks[0], d.queues[0]
	p.OnReturn(d.Wake)
	b := driver.NewBatch(64, 64)
	var held []driver.Frame
	for i := 0; i < buffers-tx; i++ {
		if !k.deliver(noise(uint64(i), 100)) {
			t.Fatalf("frame %d of %d was dropped", i, buffers-tx)
		}
		held = append(held, poll(t, d, b, 1)[0])
		held[i].Frags = append(held[i].Frags[:0:0], held[i].Frags...)
		if free := buffers - tx - fill - len(held); q.posted != min(fill, fill+free) {
			t.Fatalf("after %d frames %d are posted", len(held), q.posted)
		}
	}
	if k.deliver(noise(1, 100)) || k.dropped != 1 || q.posted != 0 || !q.starved {
		t.Fatalf("%d posted, %d dropped; want none free, and the frame dropped", q.posted, k.dropped)
	}
	poll(t, d, b, 0)
	done := make(chan error, 1)
	go func() { done <- d.Wait(0) }()
	for !d.waiting.Load() {
		time.Sleep(time.Microsecond)
	}
	p.PutFrags(held[0].Frags)
	select {
	case err := <-done:
		fatal(t, err)
	case <-time.After(patience):
		t.Fatal("Wait does not return though a buffer came back")
	}
	poll(t, d, b, 0)
	if !k.deliver(noise(7, 100)) {
		t.Fatal("dropped, with a buffer free")
	}
	if f := poll(t, d, b, 1)[0]; !bytes.Equal(contents(p, &f), noise(7, 100)) {
		t.Error("not as it came")
	}
	put(d, b)
	for _, f := range held[1:] {
		p.PutFrags(f.Frags)
	}
	if poll(t, d, b, 0); q.posted != fill || q.starved {
		t.Errorf("%d posted when all are free, starved %v; want %d", q.posted, q.starved, fill)
	}
}

// TestTurns: a busy queue does not keep others from being received from.
func TestTurns(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 256, false), 64, 18), 3)
	b := driver.NewBatch(8, 8)
	for i, k := range ks {
		for range 32 {
			k.deliver(noise(uint64(i), 100+i))
		}
	}
	seen := map[int]int{}
	for range 3 {
		for _, f := range poll(t, d, b, 8) {
			seen[f.Len]++
		}
		put(d, b)
	}
	if seen[100] != 8 || seen[101] != 8 || seen[102] != 8 {
		t.Errorf("frames by queue %v, want 8 each", seen)
	}
}

// TestInspect: checksums that were left to a device are recognized, priority tags
// taken off, and everything else is passed on as it is.
func TestInspect(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 18), 1)
	b := driver.NewBatch(1, 18)
	udp4, tcp6 := packetTo(t, dst4, wire.ProtoUDP, noise(1, 999)), packetTo(t, dst6, wire.ProtoTCP, noise(2, 8000))
	partial4, partial6 := whole(&udp4), whole(&tcp6)
	full := func(f driver.TxFrame) []byte {
		b := whole(&f)
		c := checksum(&f)
		b[f.CsumStart+f.CsumOffset], b[f.CsumStart+f.CsumOffset+1] = byte(c>>8), byte(c)
		return b
	}
	edit := func(b []byte, at int, v ...byte) []byte { b = bytes.Clone(b); copy(b[at:], v); return b }
	extended := bytes.Clone(partial6[:14+6])
	extended = append(extended, 0, 64)                 // hop-by-hop options follow
	extended = append(extended, partial6[22:14+40]...) // addresses
	extended = append(extended, wire.ProtoTCP, 0, 1, 4, 0, 0, 0, 0)
	extended = append(extended, partial6[14+40:]...)
	n := len(extended) - 14 - 40
	extended[14+4], extended[14+5] = byte(n>>8), byte(n)
	for _, tt := range []struct {
		name  string
		frame []byte
		want  []byte // nil: as it came
		check driver.Checksum
	}{
		{"UDP, partial", partial4, nil, driver.Vouched},
		{"TCP over IPv6, partial", partial6, nil, driver.Vouched},
		{"TCP behind an extension header, partial", extended, nil, driver.Vouched},
		{"UDP, complete", full(udp4), nil, driver.Unverified},
		{"TCP over IPv6, complete", full(tcp6), nil, driver.Unverified},
		{"wrong by one", edit(partial4, 14+20+6, partial4[14+20+6]^1), nil, driver.Unverified},
		{"a fragment", edit(partial4, 14+6, 0x20), nil, driver.Unverified},
		{"not the length that it says", edit(partial4, 14+2, 0x7f), nil, driver.Unverified},
		{"shorter than a header", edit(partial4, 14+2, 0, 8), nil, driver.Unverified},
		{"ICMP", edit(partial4, 14+9, wire.ProtoICMP), nil, driver.Unverified},
		{"IPv6 that says it is IPv4", edit(partial4, 12, 0x86, 0xdd), nil, driver.Unverified},
		{"cut off before the checksum", partial4[:14+20+6], nil, driver.Unverified},
		{"cut off in the IP header", partial4[:14+10], nil, driver.Unverified},
		{"cut off in the link header", partial4[:13], nil, driver.Unverified},
		{"priority tag", tagged(partial4, 5<<13), partial4, driver.Vouched},
		{"priority tag, several buffers", tagged(partial6, 0), partial6, driver.Vouched},
		{"priority tag, two of them", tagged(tagged(partial4, 0), 0), tagged(partial4, 0), driver.Unverified},
		{"VLAN tag", tagged(partial4, 7), nil, driver.Unverified},
		{"priority tag, cut off", tagged(partial4, 0)[:16], nil, driver.Unverified},
	} {
		want := tt.want
		if want == nil {
			want = tt.frame
		}
		ks[0].deliver(tt.frame)
		f := &poll(t, d, b, 1)[0]
		if got := contents(d.pool, f); !bytes.Equal(got, want) || f.Len != len(want) {
			t.Errorf("%s: %d bytes, length %d; want %d: %x", tt.name, len(got), f.Len, len(want), got[:min(len(got), 40)])
		}
		if f.Checksum != tt.check {
			t.Errorf("%s: checksum %d, want %d", tt.name, f.Checksum, tt.check)
		}
		put(d, b)
	}
	// From a wire nothing comes unfinished: what looks so is wrong.
	d.partial = false
	ks[0].deliver(partial4)
	if f := poll(t, d, b, 1)[0]; f.Checksum != driver.Unverified {
		t.Error("a frame from a wire is vouched for, with an unfinished checksum")
	}
	put(d, b)
}

// TestConcurrent: a kernel and a driver at the same time, on memory that the race
// detector watches, and an application on a third side that gives buffers back.
func TestConcurrent(t *testing.T) {
	p := newPool(t, 256, false)
	d, ks := fake(t, fakeConfig(p, 64, 32), 2)
	p.OnReturn(d.Wake)
	const total = 4000
	var work sync.WaitGroup
	for i, k := range ks {
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			for n := 0; n < total; {
				f := noise(uint64(n), 64+r.IntN(9000))
				f[0] = byte(i)
				for !k.deliver(f) {
					time.Sleep(time.Microsecond)
				}
				n++
				d.Wake()
				if i == 0 {
					k.transmit(8)
				}
			}
		})
	}
	back := make(chan driver.Frame, 16)
	work.Go(func() {
		for f := range back {
			p.PutFrags(f.Frags)
		}
	})
	b := driver.NewBatch(16, 64)
	got := [2]uint64{}
	out := packetTo(t, dst4, wire.ProtoUDP, noise(3, 500))
	for got[0]+got[1] < 2*total {
		fatal(t, d.Poll(0, b))
		for _, f := range b.Frames {
			raw := contents(p, &f)
			q := raw[0]
			want := noise(got[q], len(raw))
			want[0] = q
			if !bytes.Equal(raw, want) {
				t.Fatalf("queue %d: frame %d is not as it came", q, got[q])
			}
			got[q]++
			f.Frags = append(f.Frags[:0:0], f.Frags...)
			back <- f
		}
		if _, err := d.Send(0, []driver.TxFrame{out}); err != nil {
			t.Fatal(err)
		}
		if len(b.Frames) == 0 {
			fatal(t, d.Wait(0))
		}
	}
	close(back)
	work.Wait()
}

// TestCloseReturnsAll: wherever the buffers are.
func TestCloseReturnsAll(t *testing.T) {
	p := newPool(t, 256, false)
	d, ks := fake(t, fakeConfig(p, 64, 32), 2)
	b := driver.NewBatch(4, 16)
	for range 8 {
		ks[0].deliver(noise(1, 5000))
		ks[1].deliver(noise(2, 50))
	}
	ks[0].alloc(3) // with the kernel
	f := packetTo(t, dst4, wire.ProtoUDP, noise(1, 6000))
	if n, err := d.Send(0, []driver.TxFrame{f, f, f}); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	ks[0].transmit(1) // completed, and not reaped
	d.link.up = false // or Close would wait for the others
	fatal(t, d.Poll(0, b))
	for range 2 {
		fatal(t, d.Close())
	}
	if c, err := p.Census(); err != nil || c.Out() != len(b.Frags) || len(b.Frags) == 0 {
		t.Errorf("census after Close: %+v, %v; want only the %d buffers of the frames out", c, err, len(b.Frags))
	}
	put(d, b)
	for what, err := range map[string]error{"Poll": d.Poll(0, b), "Wait": d.Wait(0)} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if _, err := d.Send(0, []driver.TxFrame{f}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	d.Wake()
}
