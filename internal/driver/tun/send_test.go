//go:build linux

package tun

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// TestSend: what the kernel is told of a frame.
func TestSend(t *testing.T) {
	segment := func(f flow, flags wire.Flags, n, gso int) driver.TxFrame {
		x := f.tcp(t, wire.TCP{Flags: flags}, noise(1, n))
		x.GSOSize = gso
		return x
	}
	plain := segment(flow4, wire.ACK, 100, 0)
	plain.CsumStart = 0
	with := func(f driver.TxFrame, change func(f *driver.TxFrame)) driver.TxFrame {
		change(&f)
		return f
	}
	tso := segment(flow4, wire.ACK, 60000, 1460)
	for _, tt := range []struct {
		name  string
		frame driver.TxFrame
		sent  bool
		want  wire.VnetHdr
	}{
		{"as it is", plain, true, wire.VnetHdr{}},
		{"no payload", segment(flow4, wire.ACK, 0, 0), true,
			wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16}},
		{"UDP over IPv6", flow6.udp(t, noise(1, 1000)), true,
			wire.VnetHdr{NeedsCsum: true, CsumStart: 40, CsumOffset: 6}},
		{"TSO", tso, true,
			wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16, GSO: wire.GSOTCPv4, GSOSize: 1460, HdrLen: 40}},
		{"TSO over IPv6, CWR", segment(flow6, wire.ACK|wire.CWR, 3000, 1440), true,
			wire.VnetHdr{NeedsCsum: true, CsumStart: 40, CsumOffset: 16, GSO: wire.GSOTCPv6, ECN: true, GSOSize: 1440, HdrLen: 60}},
		{"TSO of one segment", segment(flow4, wire.ACK, 1460, 1460), true,
			wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16}},
		{"as long as can be", segment(flow4, wire.ACK, 65495, 1460), true,
			wire.VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16, GSO: wire.GSOTCPv4, GSOSize: 1460, HdrLen: 40}},

		{"nothing", driver.TxFrame{}, false, wire.VnetHdr{}},
		{"longer than a packet can be", driver.TxFrame{Head: make([]byte, maxFrame+1)}, false, wire.VnetHdr{}},
		{"TSO without checksum", with(tso, func(f *driver.TxFrame) { f.CsumStart = 0 }), false, wire.VnetHdr{}},
		{"TSO, checksum out of the header", with(tso, func(f *driver.TxFrame) { f.CsumStart = 27 }), false, wire.VnetHdr{}},
		{"checksum beyond the end", with(plain, func(f *driver.TxFrame) { f.CsumStart = 123 }), false, wire.VnetHdr{}},
		{"checksum before the start", with(plain, func(f *driver.TxFrame) { f.CsumStart = -1 }), false, wire.VnetHdr{}},
		{"checksum at 64 KiB", with(plain, func(f *driver.TxFrame) { f.CsumStart = 1<<16 + 20 }), false, wire.VnetHdr{}},
		{"segments of 64 KiB", with(tso, func(f *driver.TxFrame) { f.GSOSize = 1<<16 + 1460 }), false, wire.VnetHdr{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, kernel := fake(t, 20)
			last := driver.TxFrame{Head: []byte("last")}
			if n, err := d.Send(0, []driver.TxFrame{tt.frame, last}); n != 2 || err != nil {
				t.Fatalf("Send = %d, %v; want 2", n, err)
			}
			frames := uint64(1)
			if tt.sent {
				frames++
				v, packet := taken(t, kernel)
				if v != tt.want {
					t.Errorf("virtio_net_hdr %+v, want %+v", v, tt.want)
				}
				if !bytes.Equal(packet, flat(tt.frame)) {
					t.Error("the bytes are not those of the frame")
				}
			}
			if _, packet := taken(t, kernel); string(packet) != "last" {
				t.Error("the frame behind is not as it was")
			}
			if s := statsOf(d); s.TxFrames != frames || s.TxDropped != 2-frames || s.TxCalls != frames {
				t.Errorf("stats %+v", s)
			}
			for i, v := range d.tx.iov {
				if v.Base != nil || v.Len != 0 {
					t.Errorf("after Send iovec %d still names %d bytes", i, v.Len)
				}
			}
		})
	}
}

// TestSendFull: when the wire is full Send says how far it got.
func TestSendFull(t *testing.T) {
	d, kernel := fake(t, 20)
	var frames []driver.TxFrame
	for i := range 4000 {
		frames = append(frames, driver.TxFrame{Head: noise(uint64(i), 1000)})
	}
	n, err := d.Send(0, frames)
	if n == 0 || n == len(frames) || err != nil {
		t.Fatalf("Send = %d, %v; want some of %d", n, err, len(frames))
	}
	if s := statsOf(d); s.TxFrames != uint64(n) || s.TxDropped != 0 {
		t.Errorf("took %d, stats %+v", n, s)
	}
	for i := range n {
		if _, packet := taken(t, kernel); !bytes.Equal(packet, frames[i].Head) {
			t.Fatalf("frame %d is not as it was sent", i)
		}
	}
	if m, err := d.Send(0, frames[n:n+1]); m != 1 || err != nil {
		t.Fatalf("Send when there is room = %d, %v", m, err)
	}
	if _, packet := taken(t, kernel); !bytes.Equal(packet, frames[n].Head) {
		t.Fatalf("frame %d is not as it was sent", n)
	}
}

func TestClose(t *testing.T) {
	d, kernel := fake(t, 20)
	deliver(t, kernel, wire.VnetHdr{}, flat(flow4.udp(t, noise(1, 9000))))
	b := driver.NewBatch(1, 17)
	poll(t, d, b, 1)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := d.rx.pool.Census(); err != nil || c.Out() != len(b.Frags) {
		t.Errorf("census after Close: %+v, %v; want the %d buffers of the frame out", c, err, len(b.Frags))
	}
	if got := contents(d.rx.pool, &b.Frames[0]); !bytes.HasSuffix(got, noise(1, 9000)) {
		t.Error("Close changed a frame received before")
	}
	put(d, b)
	if err := d.Poll(0, b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
	if _, err := d.Send(0, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if err := d.Wait(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
}

// TestLateWake: a Wake that comes after Close does not write to a file that has
// got the descriptor's number since.
func TestLateWake(t *testing.T) {
	d, _ := fake(t, 20)
	number := d.eventfd
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, number)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if fd != number && other != number {
		t.Fatalf("descriptors %d and %d, want %d to be one", fd, other, number)
	}
	d.waiting.Store(true) // as it looked to a Wake that was slow
	d.Wake()
	var count [8]byte
	if _, err := unix.Read(fd, count[:]); err != unix.EAGAIN {
		t.Errorf("the wake wrote to another file: %v, %v", count, err)
	}
}

// TestNoAllocation: Poll, Send and a Wait that does not block allocate nothing
// once a batch of the size was seen.
func TestNoAllocation(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants allocates to remember who had which buffer")
	}
	d, kernel := fake(t, 40)
	b := driver.NewBatch(4, 80)
	big := flow4.tcp(t, wire.TCP{Flags: wire.ACK}, noise(1, 60000))
	packet := append(make([]byte, vnetLen), flat(big)...)
	back := make([]byte, 1<<17)
	frames := []driver.TxFrame{big, flow6.udp(t, noise(1, 100))}
	round := func() {
		deliverRaw(t, kernel, packet)
		deliverRaw(t, kernel, packet[:vnetLen+40])
		if err := d.Wait(1); err != nil {
			t.Fatal(err)
		}
		poll(t, d, b, 2)
		put(d, b)
		if n, err := d.Send(0, frames); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		for range frames {
			if _, err := unix.Read(kernel, back); err != nil {
				t.Fatal(err)
			}
		}
		d.Wake()
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}
