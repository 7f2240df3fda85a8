//go:build linux

package gvnic

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// host is a network namespace with a TAP interface on a wire with a guest's
// device. The guest's addresses are src4 and src6, the kernel's dst4 and dst6.
type host struct {
	*guest
	ns  *netns.NS
	tap *TAP
	mac [6]byte // the interface's
}

// get returns what a function of the namespace does.
func get[T any](t *testing.T, ns *netns.NS, f func() (T, error)) (v T) {
	t.Helper()
	if err := ns.Do(func() (err error) { v, err = f(); return err }); err != nil {
		t.Fatal(err)
	}
	return v
}

func newHost(t *testing.T, s setup) *host {
	t.Helper()
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	h := &host{guest: newGuest(t, newDevice(t, Config{})), ns: ns}
	h.tap = get(t, ns, func() (*TAP, error) { return OpenTAP("gvnic%d") })
	t.Cleanup(func() {
		if err := h.tap.Close(); err != nil {
			t.Error(err)
		}
	})
	h.up(s)
	h.oneQueue()
	Join(h.dev, h.tap) // before the interface is up: what the kernel sends by itself then is for somebody
	prefix6 := netip.PrefixFrom(dst6, 64)
	h.try(ns.ConfigureLink(h.tap.Name(), []netip.Prefix{netip.PrefixFrom(dst4, 24), prefix6}, 0))
	h.try(ns.WaitRunning(h.tap.Name(), waitTime))
	h.try(ns.Do(func() error { return netns.WaitAddresses([]netip.Prefix{prefix6}, waitTime) }))
	link := get(t, ns, func() (*net.Interface, error) { return net.InterfaceByName(h.tap.Name()) })
	h.mac = [6]byte(link.HardwareAddr)
	return h
}

// to addresses a frame to the interface.
func (h *host) to(f []byte) []byte {
	copy(f, h.mac[:])
	return f
}

// next receives the next packet for the guest's MAC address, and answers for
// the guest's addresses meanwhile.
func (h *host) next() received {
	h.t.Helper()
	for {
		r := h.rx[0].wait()
		h.rx[0].post(r.buffers)
		f := r.frame()
		all := func(a netip.Addr) bool { return a == src4 || a == src6 }
		a, ok := arpReply(f, macA, all)
		if !ok {
			a, ok = ndReply(f, macA, all)
		}
		switch {
		case ok:
			h.tx[1].done(h.tx[1].send(a, sending{}))
		case [6]byte(f) == macA:
			return r
		}
	}
}

// TestNSTapUDP: datagrams to and from a socket of the kernel, checksums left to
// the device both ways, and neighbors found both ways.
func TestNSTapUDP(t *testing.T) {
	h := newHost(t, setup{})
	for _, v6 := range []bool{false, true} {
		addr := netip.AddrPortFrom(dst4, 7000)
		from := netip.AddrPortFrom(src4, 40000)
		if v6 {
			addr, from = netip.AddrPortFrom(dst6, 7000), netip.AddrPortFrom(src6, 40000)
		}
		c := get(t, h.ns, func() (*net.UDPConn, error) { return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)) })
		defer c.Close()
		h.try(c.SetDeadline(time.Now().Add(waitTime)))
		buf := make([]byte, 2000)
		for i, partial := range []bool{true, false} {
			s := spec{v6: v6, proto: wire.ProtoUDP, dport: 7000, payload: pattern(uint64(i), 1000+i), partial: partial}
			h.tx[0].done(h.tx[0].send(h.to(s.frame(t)), sending{csum: partial}))
			n, peer, err := c.ReadFromUDPAddrPort(buf)
			if err != nil || peer != from || !bytes.Equal(buf[:n], s.payload) {
				t.Fatalf("%d bytes from %v, %v; %+v", n, peer, err, h.tap.Stats())
			}
		}
		super := spec{v6: v6, proto: wire.ProtoUDP, dport: 7000, payload: pattern(9, 2500), partial: true}
		header := 42
		if v6 {
			header = 62
		}
		h.tx[0].done(h.tx[0].send(h.to(super.frame(t)), sending{mss: 1000, header: header}))
		for i := 0; i < 2500; i += 1000 {
			if n, _, err := c.ReadFromUDPAddrPort(buf); err != nil || !bytes.Equal(buf[:n], super.payload[i:min(i+1000, 2500)]) {
				t.Fatalf("%d bytes of a super-frame, %v; %+v", n, err, h.tap.Stats())
			}
		}
		if _, err := c.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
			t.Fatal(err)
		}
		r := h.next()
		if _, _, payload := checkFrame(t, r.frame()); string(payload) != "answer" || r.badL4 {
			t.Errorf("%q, %+v", payload, r)
		}
	}
	if s := h.tap.Stats(); s.ToKernel < 10 || s.FromKernel < 2 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// TestNSTapTCP: a connection with the kernel in which both sides send
// super-frames, to a driver with RSC and to one without.
func TestNSTapTCP(t *testing.T) {
	for _, rsc := range []bool{true, false} {
		h := newHost(t, setup{rsc: rsc, ring: 512})
		ln := get(t, h.ns, func() (net.Listener, error) { return net.Listen("tcp", dst4.String()+":80") })
		defer ln.Close()
		out, in := pattern(1, 20_000), pattern(2, 12_000)
		result := make(chan error, 1)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				result <- err
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(waitTime))
			got := make([]byte, len(out))
			if _, err = io.ReadFull(c, got); err == nil && !bytes.Equal(got, out) {
				err = io.ErrUnexpectedEOF
			}
			if err == nil {
				_, err = c.Write(in)
			}
			result <- err
			io.Copy(io.Discard, c)
		}()
		seq := uint32(1000)
		ack := uint32(0)
		send := func(flags wire.Flags, payload []byte, mss int) {
			t.Helper()
			s := spec{dport: 80, seq: seq, flags: flags, payload: payload, partial: true}
			f := h.to(s.frame(t))
			be.PutUint32(f[34+8:], ack)
			be.PutUint16(f[34+14:], 65535)
			if flags.Has(wire.SYN) {
				f[34+13] = byte(wire.SYN)
			}
			h.tx[0].done(h.tx[0].send(f, sending{mss: mss, header: 54, csum: true}))
			seq += uint32(len(payload))
		}
		send(wire.SYN, nil, 0)
		seq++
		_, tcp, _ := checkFrame(t, h.next().frame())
		if !tcp.Flags.Has(wire.SYN | wire.ACK) {
			t.Fatalf("%+v", tcp)
		}
		ack = uint32(tcp.Seq) + 1
		send(0, nil, 0)
		send(wire.PSH, out, 1460)
		if err := <-result; err != nil {
			t.Fatalf("the kernel's side: %v; %+v", err, h.tap.Stats())
		}
		var got []byte
		large := 0
		for len(got) < len(in) {
			r := h.next()
			_, tcp, payload := checkFrame(t, r.frame())
			if len(payload) == 0 {
				continue
			}
			if uint32(tcp.Seq) != ack || r.badL4 {
				t.Fatalf("sequence number %d, want %d; %+v", tcp.Seq, ack, r)
			}
			got, ack = append(got, payload...), ack+uint32(len(payload))
			large = max(large, len(payload))
			send(0, nil, 0)
		}
		if !bytes.Equal(got, in) {
			t.Error("not what the kernel sent")
		}
		// Linux announces no MSS option to a SYN without one, and sends 536 bytes a segment.
		if rsc != (large > 1460) {
			t.Errorf("RSC %v: packets of up to %d bytes", rsc, large)
		}
		send(wire.RST, nil, 0)
	}
}

// TestNSTapDown: an interface that is down loses frames, and holds nobody.
func TestNSTapDown(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	tap := get(t, ns, func() (*TAP, error) { return OpenTAP("gvnic%d") })
	x := newGuest(t, newDevice(t, Config{}))
	x.up(setup{})
	Join(tap, x.dev)
	for range 1000 {
		x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
	}
	x.eventually("drops", func() bool { return tap.Stats().Dropped == 1000 })
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
	if err := ns.Do(func() error { _, err := OpenTAP("much too long a name"); return err }); err == nil {
		t.Error("an interface with an impossible name")
	}
}
