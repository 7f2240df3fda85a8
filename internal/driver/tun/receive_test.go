//go:build linux

package tun

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// TestSplit: where header and payload of a frame come to lie, by the guess that
// the frames before have left.
func TestSplit(t *testing.T) {
	ack := wire.TCP{Flags: wire.ACK}
	stamped := wire.TCP{Flags: wire.ACK, Options: wire.TCPOptions{HasTimestamps: true}}
	icmp := flow4.udp(t, noise(1, 1000))
	icmp.Head[9] = wire.ProtoICMP
	for _, tt := range []struct {
		name    string
		guess   int
		frame   driver.TxFrame
		head    int // bytes of Head
		offset  int // of the payload in the first buffer
		buffers int
		next    int // the guess afterwards
	}{
		{"right", 40, flow4.tcp(t, ack, noise(1, 1460)), 40, 0, 1, 40},
		{"right, a page", 40, flow4.tcp(t, ack, noise(1, 4096)), 40, 0, 1, 40},
		{"right, a page and a byte", 40, flow4.tcp(t, ack, noise(1, 4097)), 40, 0, 2, 40},
		{"right, IPv6", 72, flow6.tcp(t, stamped, noise(1, 9000)), 72, 0, 3, 72},
		{"right, as long as can be", 40, flow4.tcp(t, ack, noise(1, 65495)), 40, 0, 16, 40},
		{"right, no payload", 40, flow4.tcp(t, ack, nil), 40, 0, 0, 40},
		{"headers are longer", 40, flow6.tcp(t, stamped, noise(1, 1460)), 72, 32, 1, 72},
		{"headers are longer, a page", 40, flow6.tcp(t, stamped, noise(1, 4096)), 72, 32, 2, 72},
		{"headers are longer, no payload", 28, flow6.tcp(t, stamped, nil), 72, 0, 0, 28},
		{"headers are longer, as long as can be", 28, flow6.tcp(t, stamped, noise(1, 65503)), 72, 44, 17, 72},
		{"headers are shorter", 72, flow4.tcp(t, ack, noise(1, 1460)), 72, 0, 1, 40},
		{"headers are shorter, all in the head", 72, flow4.tcp(t, ack, noise(1, 32)), 72, 0, 0, 40},
		{"headers are shorter, no payload", 72, flow4.tcp(t, ack, nil), 40, 0, 0, 72},
		{"no split: ICMP", 52, icmp, 52, 0, 1, 52},
		{"no split: garbage", 52, driver.TxFrame{Head: noise(1, 5000)}, 52, 0, 2, 52},
		{"no split: short garbage", 52, driver.TxFrame{Head: noise(1, 1)}, 1, 0, 0, 52},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, kernel := fake(t, 20)
			d.rx.predict.length = tt.guess
			deliver(t, kernel, wire.VnetHdr{}, flat(tt.frame))
			b := driver.NewBatch(2, 40)
			f := &poll(t, d, b, 1)[0]
			defer put(d, b)
			offset := 0
			if len(f.Frags) > 0 {
				offset = f.Frags[0].Offset()
			}
			if len(f.Head) != tt.head || offset != tt.offset || len(f.Frags) != tt.buffers || d.rx.predict.length != tt.next {
				t.Errorf("head of %d, payload at %d, %d buffers, next guess %d; want %d, %d, %d, %d",
					len(f.Head), offset, len(f.Frags), d.rx.predict.length, tt.head, tt.offset, tt.buffers, tt.next)
			}
			if f.Len != tt.frame.Len() || !bytes.Equal(contents(d.rx.pool, f), flat(tt.frame)) {
				t.Error("the bytes are not those sent")
			}
			if f.Checksum != driver.Unverified || f.GSOSize != 0 {
				t.Errorf("checksum %d, GSOSize %d", f.Checksum, f.GSOSize)
			}
		})
	}
}

// TestOffloads: what a virtio_net_hdr becomes, hostile ones included.
func TestOffloads(t *testing.T) {
	segment4 := flat(flow4.tcp(t, wire.TCP{Flags: wire.ACK}, noise(1, 5000)))
	segment6 := flat(flow6.tcp(t, wire.TCP{Flags: wire.ACK}, noise(1, 5000)))
	tso4 := wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16, GSO: wire.GSOTCPv4, GSOSize: 1460, HdrLen: 40}
	tso6 := wire.VnetHdr{NeedsCsum: true, CsumStart: 40, CsumOffset: 16, GSO: wire.GSOTCPv6, GSOSize: 1440, HdrLen: 60}
	datagrams4, datagrams6 := flat(flow4.udp(t, noise(1, 5000))), flat(flow6.udp(t, noise(1, 5000)))
	uso4 := wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 6, GSO: wire.GSOUDPL4, GSOSize: 1000, HdrLen: 28}
	uso6 := wire.VnetHdr{NeedsCsum: true, CsumStart: 40, CsumOffset: 6, GSO: wire.GSOUDPL4, GSOSize: 1000, HdrLen: 48}
	with := func(v wire.VnetHdr, change func(v *wire.VnetHdr)) wire.VnetHdr {
		change(&v)
		return v
	}
	raw := func(v wire.VnetHdr, packet []byte) []byte {
		b := make([]byte, vnetLen)
		// Whatever v says: PutVnetHdr would refuse what does not fit.
		if _, err := wire.PutVnetHdr(b, 1<<20, &v); err != nil {
			t.Fatal(err)
		}
		return append(b, packet...)
	}
	fields := func(change func(b []byte)) []byte {
		b := raw(tso4, segment4)
		change(b)
		return b
	}
	for _, tt := range []struct {
		name    string
		bytes   []byte
		ok      bool
		check   driver.Checksum
		gsoSize int
	}{
		{"nothing", raw(wire.VnetHdr{}, segment4), true, driver.Unverified, 0},
		{"valid", raw(wire.VnetHdr{DataValid: true}, segment4), true, driver.Vouched, 0},
		{"to be completed", raw(wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16}, segment4), true, driver.Vouched, 0},
		{"TSO", raw(tso4, segment4), true, driver.Vouched, 1460},
		{"TSO over IPv6", raw(tso6, segment6), true, driver.Vouched, 1440},
		{"TSO with ECN", raw(with(tso4, func(v *wire.VnetHdr) { v.ECN = true }), segment4), true, driver.Vouched, 1460},
		{"TSO, all of it called headers", raw(with(tso4, func(v *wire.VnetHdr) { v.HdrLen = 5040 }), segment4), true, driver.Vouched, 1460},
		{"TSO of one segment", raw(with(tso4, func(v *wire.VnetHdr) { v.GSOSize = 5000 }), segment4), true, driver.Vouched, 0},
		{"flags without a meaning", fields(func(b []byte) { b[0] |= 0xfc }), true, driver.Vouched, 1460},

		{"TSO of the other IP version", raw(tso4, segment6), false, 0, 0},
		{"TSO of the other IP version, 6", raw(tso6, segment4), false, 0, 0},
		{"TSO of garbage", raw(tso4, append([]byte{0x41}, segment4...)), false, 0, 0},
		{"TSO of another protocol", raw(with(tso4, func(v *wire.VnetHdr) { v.CsumOffset = 6 }), segment4), false, 0, 0},
		{"segments of no bytes", fields(func(b []byte) { b[4], b[5] = 0, 0 }), false, 0, 0},
		{"USO", raw(uso4, datagrams4), true, driver.Vouched, 1000},
		{"USO over IPv6", raw(uso6, datagrams6), true, driver.Vouched, 1000},
		{"USO of one datagram", raw(with(uso4, func(v *wire.VnetHdr) { v.GSOSize = 5000 }), datagrams4), true, driver.Vouched, 0},
		{"USO of TCP", raw(with(tso4, func(v *wire.VnetHdr) { v.GSO = wire.GSOUDPL4 }), segment4), false, 0, 0},
		{"USO of TCP, called UDP", raw(uso4, segment4), false, 0, 0},
		{"USO with a checksum on it", raw(with(uso4, func(v *wire.VnetHdr) { v.NeedsCsum = false }), datagrams4), false, 0, 0},
		{"unknown segmentation", fields(func(b []byte) { b[1] = 77 }), false, 0, 0},
		{"checksum beyond the end", raw(with(tso4, func(v *wire.VnetHdr) { v.CsumStart = 5040 - 17 }), segment4), false, 0, 0},
		{"headers beyond the end", raw(with(tso4, func(v *wire.VnetHdr) { v.HdrLen = 5041 }), segment4), false, 0, 0},
		{"no packet", raw(wire.VnetHdr{}, nil), false, 0, 0},
		{"half a header", raw(wire.VnetHdr{}, nil)[:5], false, 0, 0},
		{"longer than a packet can be", raw(wire.VnetHdr{}, make([]byte, 40+17*4096)), false, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, kernel := fake(t, 20)
			d.rx.predict.length = 40
			deliverRaw(t, kernel, tt.bytes)
			deliver(t, kernel, wire.VnetHdr{}, []byte("behind"))
			b := driver.NewBatch(4, 40)
			want := 1
			if tt.ok {
				want = 2
			}
			frames := poll(t, d, b, want)
			defer put(d, b)
			if string(contents(d.rx.pool, &frames[want-1])) != "behind" {
				t.Error("the packet behind is not as it was sent")
			}
			if f := &frames[0]; tt.ok && (f.Checksum != tt.check || int(f.GSOSize) != tt.gsoSize) {
				t.Errorf("checksum %d, GSOSize %d; want %d, %d", f.Checksum, f.GSOSize, tt.check, tt.gsoSize)
			}
			if s := statsOf(d); s.RxMalformed != uint64(2-want) || s.RxFrames != uint64(want) {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestStall: while there are not buffers for the largest frame, packets wait;
// none is lost, and a stall counts when it begins, if packets wait.
func TestStall(t *testing.T) {
	const need = 17
	d, kernel := fake(t, need+3)
	pool := d.rx.pool
	b := driver.NewBatch(8, 8*need)
	sent, received := uint64(0), uint64(0)
	send := func(n int) {
		for range n {
			deliver(t, kernel, wire.VnetHdr{}, flat(flow4.udp(t, noise(sent, 1000))))
			sent++
		}
	}
	check := func(frames int, stalls uint64) {
		t.Helper()
		for _, f := range poll(t, d, b, frames) {
			if !bytes.HasSuffix(contents(pool, &f), noise(received, 1000)) {
				t.Errorf("frame %d is not as it was sent", received)
			}
			received++
		}
		if s := statsOf(d); s.RxStalls != stalls || s.RxNoBuffer != 0 {
			t.Errorf("%d stalls, %d drops; want %d stalls", s.RxStalls, s.RxNoBuffer, stalls)
		}
	}
	for stalls := uint64(0); stalls < 6; {
		check(0, stalls) // takes its 17 buffers
		held := make([]uint16, 3)
		if n := pool.Alloc(held); n != 3 {
			t.Fatalf("%d buffers are free beside the driver's, want 3", n)
		}
		send(1)
		check(1, stalls) // short of one buffer, and no packet is there
		out := b.Frags[0]
		check(0, stalls)
		send(3)
		stalls++
		for range 3 {
			check(0, stalls)
		}
		pool.Put(out.Buffer()) // makes 17 again
		stalls++
		check(1, stalls)
		put(d, b)
		pool.Put(held[0])
		check(2, stalls) // and then has 16 and no packet
		put(d, b)
		pool.Put(held[1])
		pool.Put(held[2])
	}
}

// TestBatchBounds: what the batch has no room for waits for the next one.
func TestBatchBounds(t *testing.T) {
	d, kernel := fake(t, 60)
	send := func(n int) {
		for range n {
			deliver(t, kernel, wire.VnetHdr{}, flat(flow4.udp(t, noise(1, 9000))))
		}
	}
	if err := d.Poll(0, driver.NewBatch(4, 16)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Poll of a batch that can't hold the largest frame: %v, want EINVAL", err)
	}
	send(5)
	b := driver.NewBatch(2, 60)
	for _, n := range []int{2, 2, 1, 0} {
		poll(t, d, b, n)
		put(d, b)
	}
	send(5)
	b = driver.NewBatch(8, 20) // two frames of 3 buffers leave no room for 17
	for _, n := range []int{2, 2, 1, 0} {
		poll(t, d, b, n)
		put(d, b)
	}
}

// TestUndisturbed: buffers that are out keep their bytes while others come in.
func TestUndisturbed(t *testing.T) {
	d, kernel := fake(t, 40)
	var held []buf.Frag
	for i := range 20 {
		deliver(t, kernel, wire.VnetHdr{}, flat(flow4.udp(t, noise(uint64(i), 4000))))
		b := driver.NewBatch(1, 17)
		f := poll(t, d, b, 1)[0]
		held = append(held, f.Frags[len(f.Frags)-1])
		for j, frag := range held {
			// The guess is wrong for the first frame only.
			want := noise(uint64(j), 4000)
			if got := d.rx.pool.Region().View(frag); !bytes.HasSuffix(want, got) || len(got) < 3900 {
				t.Fatalf("after frame %d the payload of frame %d, %d bytes, has changed", i, j, len(got))
			}
		}
	}
	d.rx.pool.PutFrags(held)
}

func FuzzReceive(f *testing.F) {
	segment := flat(flow6.tcp(f, wire.TCP{Flags: wire.ACK}, noise(1, 500)))
	head := make([]byte, vnetLen)
	for _, v := range []wire.VnetHdr{
		{},
		{NeedsCsum: true, CsumStart: 40, CsumOffset: 16, GSO: wire.GSOTCPv6, GSOSize: 100, HdrLen: 60},
	} {
		if _, err := wire.PutVnetHdr(head, len(segment), &v); err != nil {
			f.Fatal(err)
		}
		f.Add(append(bytes.Clone(head), segment...), uint8(28))
		f.Add(append(bytes.Clone(head), segment...), uint8(60))
	}
	d, kernel := fake(f, 40)
	b := driver.NewBatch(1, 17)
	f.Fuzz(func(t *testing.T, packet []byte, guess uint8) {
		if len(packet) == 0 || len(packet) > 1<<16 {
			return // a socket pair takes the first for its end
		}
		d.rx.predict.length = 28 + int(guess)%150
		before := statsOf(d)
		deliverRaw(t, kernel, packet)
		if err := d.Poll(0, b); err != nil {
			t.Fatal(err)
		}
		defer put(d, b)
		after := statsOf(d)
		if after.RxFrames+after.RxMalformed != before.RxFrames+before.RxMalformed+1 {
			t.Fatalf("one packet, stats %+v and then %+v", before, after)
		}
		for i := range b.Frames {
			got := &b.Frames[i]
			if got.Len != len(packet)-vnetLen || !bytes.Equal(contents(d.rx.pool, got), packet[vnetLen:]) {
				t.Errorf("%d bytes delivered of %d", got.Len, len(packet))
			}
			if int(got.GSOSize) >= got.Len {
				t.Errorf("segments of %d bytes in a frame of %d", got.GSOSize, got.Len)
			}
		}
	})
}
