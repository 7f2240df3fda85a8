//go:build linux

package gvnic

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/wire"
)

func newPool(t *testing.T) *buf.Pool {
	t.Helper()
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: 256, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Free() })
	return buf.NewPool(r)
}

// ipWire is a guest on a wire with a driver of IP packets, of which the test
// has the other end.
type ipWire struct {
	*guest
	end   *IP
	stack *mem.End
	pool  *buf.Pool
	batch *driver.Batch
	taken int // of the batch
}

func newIPWire(t *testing.T, m mem.Config, c IPConfig, s setup) *ipWire {
	t.Helper()
	ours, theirs := m, m
	ours.Pool, theirs.Pool = newPool(t), newPool(t)
	a, b, err := mem.Pipe(ours, theirs)
	if err != nil {
		t.Fatal(err)
	}
	c.Driver, c.Pool = a, ours.Pool
	end, err := NewIP(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &ipWire{guest: newGuest(t, newDevice(t, Config{})), end: end, stack: b, pool: theirs.Pool, batch: driver.NewBatch(16, 256)}
	t.Cleanup(func() {
		if err := end.Close(); err != nil {
			t.Error(err)
		}
		b.Close()
		if n := ours.Pool.Free(); n != 256 {
			t.Errorf("%d of 256 buffers free at the end", n)
		}
	})
	Join(w.dev, end)
	w.up(s)
	w.oneQueue()
	return w
}

// stackFrame is the next packet that the stack receives, whole.
func (w *ipWire) stackFrame() (b []byte, f driver.Frame) {
	w.t.Helper()
	w.eventually("a packet for the stack", func() bool {
		if w.taken < len(w.batch.Frames) {
			return true
		}
		if err := w.stack.Poll(0, w.batch); err != nil {
			w.t.Fatal(err)
		}
		w.taken = 0
		return len(w.batch.Frames) > 0
	})
	f = w.batch.Frames[w.taken]
	w.taken++
	b = bytes.Clone(f.Head)
	for _, g := range f.Frags {
		b = append(b, w.pool.Region().View(g)...)
	}
	w.pool.PutFrags(f.Frags)
	return b, f
}

// toStack addresses a frame to the stack.
func (w *ipWire) toStack(f []byte) []byte {
	copy(f, w.end.config.MAC[:])
	return f
}

// TestIPEnd: packets both ways, with and without offloads of the driver's.
func TestIPEnd(t *testing.T) {
	for name, m := range map[string]mem.Config{
		"plain":     {Offload: mem.Plain},
		"completed": {Offload: mem.Completed, MaxGSO: 65535, QueueBytes: 1 << 20},
		"local":     {MaxGSO: 65535, QueueBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			w := newIPWire(t, m, IPConfig{}, setup{rsc: true})
			for i, s := range []spec{
				{payload: pattern(1, 1000), partial: true}, {v6: true, payload: pattern(1, 1400), partial: true},
				{proto: wire.ProtoUDP, payload: pattern(1, 10)}, {v6: true, payload: pattern(2, 20_000), partial: true, stamps: true},
			} {
				mss, header := 0, 0
				if len(s.payload) > 1460 {
					mss, header = 1400, 86
				}
				w.tx[0].done(w.tx[0].send(w.toStack(s.frame(t)), sending{csum: s.partial, mss: mss, header: header}))
				var got []byte
				for len(got) < len(s.payload) {
					b, f := w.stackFrame()
					if m.MaxGSO > 0 && mss > 0 && (int(f.GSOSize) != mss || len(b) < 20_000) {
						t.Errorf("%d: %d bytes, GSO size %d", i, len(b), f.GSOSize)
					}
					// Between interfaces of one machine checksums stay partial.
					if name == "local" && mss > 0 {
						got = append(got, b[header-14:]...)
						continue
					}
					_, _, payload := checkFrame(t, append(s.frame(t)[:14:14], b...))
					got = append(got, payload...)
				}
				if !bytes.Equal(got, s.payload) {
					t.Errorf("%d: not what was sent", i)
				}
			}
			// From the stack: its sender has a MAC address by now.
			for i, s := range []spec{{src: dst4, dst: src4, payload: pattern(5, 500)}, {v6: true, src: dst6, dst: src6, payload: pattern(6, 600)}} {
				b := s.frame(t)[14:]
				if n, err := w.stack.Send(0, []driver.TxFrame{{Head: b[:40], Payload: [2][]byte{b[40:]}}}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				r := w.rx[0].wait()
				w.rx[0].post(r.buffers)
				f := r.frame()
				if !bytes.Equal(f[14:], b) || [6]byte(f) != macA || [6]byte(f[6:]) != w.end.config.MAC || r.badL4 {
					t.Errorf("%d: %x", i, f[:34])
				}
			}
			if m.MaxGSO > 0 {
				s := spec{src: dst4, dst: src4, payload: pattern(7, 10_000)}
				b := s.frame(t)[14:]
				f := driver.TxFrame{Head: b[:40], Payload: [2][]byte{b[40:1000], b[1000:]}, GSOSize: 1000, CsumStart: 20, CsumOffset: 16}
				if err := wire.FillPartialChecksum(b[20:], wire.ProtoTCP, wire.PseudoSum(dst4, src4, wire.ProtoTCP, len(b)-20)); err != nil {
					t.Fatal(err)
				}
				w.stack.Send(0, []driver.TxFrame{f})
				r := w.rx[0].wait()
				if r.segment != 1000 || !bytes.Equal(r.payload, s.payload) || r.badL4 {
					t.Errorf("%d bytes in segments of %d", len(r.payload), r.segment)
				}
				checkFrame(t, r.frame())
			}
			if s := w.end.Stats(); s.ToDriver < 4 || s.FromDriver < 2 || s.NotIP+s.Dropped != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// arpRequest asks who has target.
func arpRequest(sender, target netip.Addr) []byte {
	b := make([]byte, 14+28)
	copy(b, broadcast[:])
	copy(b[6:], macA[:])
	be.PutUint16(b[12:], wire.EtherTypeARP)
	copy(b[14:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(b[22:], macA[:])
	s, d := sender.As4(), target.As4()
	copy(b[28:], s[:])
	copy(b[38:], d[:])
	return b
}

// solicitation asks who has target, in IPv6.
func solicitation(t *testing.T, sender, target netip.Addr) []byte {
	t.Helper()
	b := make([]byte, 14+40+32)
	b[0], b[1] = 0x33, 0x33
	copy(b[6:], macA[:])
	be.PutUint16(b[12:], wire.EtherTypeIPv6)
	group := netip.MustParseAddr("ff02::1:ff00:2")
	if _, err := wire.PutIP(b[14:], &wire.IPHeader{Src: sender, Dst: group, Proto: wire.ProtoICMPv6, HopLimit: 255, PayloadLen: 32}); err != nil {
		t.Fatal(err)
	}
	m := b[54:]
	m[0] = ndSolicitation
	a := target.As16()
	copy(m[8:], a[:])
	m[24], m[25] = 1, 1
	copy(m[26:], macA[:])
	if err := wire.FillChecksum(m, wire.ProtoICMPv6, wire.PseudoSum(sender, group, wire.ProtoICMPv6, 32)); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNeighbors: the end answers for the stack's addresses and no others.
func TestNeighbors(t *testing.T) {
	mac := [6]byte{2, 0, 0, 0, 0, 9}
	w := newIPWire(t, mem.Config{}, IPConfig{MAC: mac, Addrs: []netip.Addr{dst4, dst6}}, setup{})
	other4, other6 := netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77")
	routed := solicitation(t, src6, dst6)
	routed[14+7]-- // RFC 4861 section 7.1.1: a router has been between
	for _, f := range [][]byte{
		routed, arpRequest(src4, other4), arpRequest(netip.MustParseAddr("0.0.0.0"), dst4), arpRequest(dst4, dst4), arpRequest(src4, dst4)[:40],
		solicitation(t, src6, other6), solicitation(t, netip.MustParseAddr("::"), dst6), {0: 1, 59: 0},
	} {
		w.tx[0].done(w.tx[0].send(f, sending{}))
	}
	w.rx[0].idle(10 * time.Millisecond)
	w.tx[0].done(w.tx[0].send(arpRequest(src4, dst4), sending{}))
	r := w.rx[0].wait()
	f := r.frame()
	want := append(append(bytes.Clone(macA[:]), mac[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	want = append(append(want, mac[:]...), dst4.AsSlice()...)
	want = append(append(want, macA[:]...), src4.AsSlice()...)
	if !bytes.Equal(f, want) {
		t.Errorf("ARP: %x, want %x", f, want)
	}
	w.tx[0].done(w.tx[0].send(solicitation(t, src6, dst6), sending{}))
	r = w.rx[0].wait()
	f = r.frame()
	p := parse(f, wire.Verify)
	if p.proto() != wire.ProtoICMPv6 || r.badL4 || p.ip.Src != dst6 || p.ip.Dst != src6 || p.ip.HopLimit != 255 || [6]byte(f) != macA {
		t.Fatalf("%x", f)
	}
	m := f[p.l4:p.end]
	if m[0] != ndAdvertisement || m[4] != 0x60 || !bytes.Equal(m[8:24], dst6.AsSlice()) || m[24] != 2 || m[25] != 1 || !bytes.Equal(m[26:32], mac[:]) {
		t.Errorf("advertisement %x", m)
	}
	if s := w.end.Stats(); s.Answers != 2 || s.ToDriver != 0 {
		t.Errorf("%+v", s)
	}
}

// TestIPEndBusy: neither side of the end holds the other up, and nothing is
// lost, when queues are small and both send.
func TestIPEndBusy(t *testing.T) {
	w := newIPWire(t, mem.Config{QueueFrames: 2}, IPConfig{}, setup{ring: 256})
	const n = 300
	go func() {
		b := spec{src: dst4, dst: src4, payload: pattern(5, 100)}.frame(t)[14:]
		for sent := 0; sent < n; {
			k, err := w.stack.Send(0, []driver.TxFrame{{Head: b}})
			if err != nil {
				return
			}
			if sent += k; k == 0 {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	for range n {
		w.tx[0].send(w.toStack(spec{payload: pattern(1, 50)}.frame(t)), sending{})
		r := w.rx[0].wait()
		w.rx[0].post(r.buffers)
	}
	_ = w.end.Stats()
}

func TestIPErrors(t *testing.T) {
	p := newPool(t)
	a, b, err := mem.Pipe(mem.Config{Pool: p, LinkHeader: 14}, mem.Config{Pool: newPool(t), LinkHeader: 14})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	for _, c := range []IPConfig{{}, {Driver: a}, {Pool: p}, {Driver: a, Pool: p}} {
		if _, err := NewIP(c); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v", err)
		}
	}
}
