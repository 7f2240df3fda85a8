package enginetest

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/zctap/zctap"
)

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.UDPAddr).AddrPort() }

// recvFrom receives n datagrams, in as many calls as it takes, has f look at each
// with its bytes, and releases them.
func (f *fixture) recvFrom(c *zctap.PacketConn, n int, look func(d *zctap.Datagram, b []byte)) {
	f.Helper()
	iovs := make([]zctap.Iov, 64)
	dgrams := make([]zctap.Datagram, 32)
	for n > 0 {
		k, err := c.RecvFromZC(iovs, dgrams[:min(len(dgrams), n)])
		f.ok(err)
		n -= k
		at := 0
		for i := range dgrams[:k] {
			var b []byte
			for j := range dgrams[i].Iovs {
				b = append(b, iovs[at+j].Bytes()...)
			}
			at += dgrams[i].Iovs
			look(&dgrams[i], b)
		}
		f.release(iovs[:at])
	}
}

// What the IP header said comes with the datagram, both ways, and when it came.
func testDatagramHeaders(f *fixture) {
	f.open(zctap.Config{})
	c, p, to := f.packets()
	for _, tc := range []uint8{0, 2, 0xb8, 0xbb} { // ECT(0); EF; EF and CE
		before := time.Now()
		f.ok(f.peer.SetTrafficClass(p, tc))
		_, err := p.WriteTo([]byte("x"), to)
		f.ok(err)
		f.recvFrom(c, 1, func(d *zctap.Datagram, _ []byte) {
			if d.TrafficClass != tc || d.ECN() != tc&3 || d.Dst != addrPort(to) {
				f.Errorf("sent with %#x to %v: %+v", tc, to, d)
			}
			// The kernel's clock and ours are read at two places.
			const slack = 100 * time.Millisecond
			if at := d.Time(); at.Before(before.Add(-slack)) || at.After(time.Now().Add(slack)) {
				f.Errorf("arrived at %v, sent after %v", at, before)
			}
		})
	}
	// What we send: another socket of the queue's own tells, by the peer's echo.
	f.ok(c.SetTrafficClass(0x2e))
	_, err := c.WriteToAddrPort([]byte("y"), addrPort(p.LocalAddr()))
	f.ok(err)
	if q, ok := p.(*zctap.PacketConn); ok {
		f.ok(q.SetDeadline(time.Now().Add(patience)))
		var iovs [1]zctap.Iov
		var d [1]zctap.Datagram
		_, err := q.RecvFromZC(iovs[:], d[:])
		f.ok(err)
		if d[0].TrafficClass != 0x2e {
			f.Errorf("sent with traffic class 0x2e, received %+v", d[0])
		}
		if err := releaseAt(f.peer, iovs[:]); err != nil {
			f.Error(err)
		}
	}
}

func releaseAt(p Peer, iovs []zctap.Iov) error {
	_, err := p.(QueuePeer).Q.Release(iovs)
	return err
}

// Datagrams that were sent in one piece are received one by one.
func testDatagramSegments(f *fixture) {
	f.open(zctap.Config{})
	if f.NoSegments {
		f.datagramSegmentsLost()
		return
	}
	c, p, to := f.packets()
	merged := f.q.Stats().Events["datagrams-merged"]
	for _, size := range []int{1, 100, 999, 1200} {
		const n = 20
		b := make([]byte, (n-1)*size+(size+1)/2) // the last one is shorter
		f.pat.Fill(b, 0)
		f.ok(f.peer.SendSegments(p, b, size, addrPort(to)))
		off := 0
		f.recvFrom(c, n, func(d *zctap.Datagram, got []byte) {
			want := b[off:min(off+size, len(b))]
			if d.Len != len(want) || d.Truncated || d.Src != addrPort(p.LocalAddr()) || d.Dst != addrPort(to) {
				f.Fatalf("at %d of %d by %d: %+v", off, len(b), size, d)
			}
			if string(got) != string(want) {
				f.Fatalf("at %d of %d by %d: wrong bytes", off, len(b), size)
			}
			off += len(want)
		})
		if off != len(b) {
			f.Fatalf("%d of %d bytes", off, len(b))
		}
	}
	if n := f.q.Stats().Events["datagrams-merged"] - merged; f.Merges && n != 4 {
		f.Errorf("%d of 4 came in one piece", n)
	}
}

// datagramSegmentsLost: where nobody can tell datagrams apart any more none of them is
// received as one that nobody sent, if they are longer than a frame.
func (f *fixture) datagramSegmentsLost() {
	c, p, to := f.packets()
	b := make([]byte, 20_000)
	f.pat.Fill(b, 0)
	f.ok(f.peer.SendSegments(p, b, 1000, addrPort(to)))
	_, err := p.WriteTo([]byte("after"), net.UDPAddrFromAddrPort(addrPort(to)))
	f.ok(err)
	f.recvFrom(c, 1, func(d *zctap.Datagram, got []byte) {
		if string(got) != "after" {
			f.Errorf("received %d bytes: %+v", len(got), d)
		}
	})
	if n := f.q.Stats().Drops["merged-udp"]; n != 1 {
		f.Errorf("%d frames of several datagrams were dropped, want 1", n)
	}
}

// What is wrong is refused, by an error that programs and people understand.
func testDatagramErrors(f *fixture) {
	f.open(zctap.Config{})
	c, p, to := f.packets()
	peer := addrPort(p.LocalAddr())
	for _, network := range []string{"tcp", "udp5", "ip", ""} {
		_, err := f.q.ListenPacket(network, ":0")
		var unknown net.UnknownNetworkError
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "udp4") {
			f.Errorf("network %q: %v", network, err)
		}
	}
	own := netip.MustParseAddr(f.peer.Host())
	other := "udp6"
	if own.Is6() {
		other = "udp4"
	}
	dialed, err := f.q.DialPacket("udp", peer.String())
	f.ok(err)
	defer dialed.Close()
	call := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"a port in use", call(f.q.ListenPacket("udp", to.String())), syscall.EADDRINUSE},
		{"an address of the other version", call(f.q.ListenPacket(other, netip.AddrPortFrom(own, 0).String())), nil},
		{"an address of nobody's", call(f.q.ListenPacket("udp", "203.0.113.77:0")), syscall.EADDRNOTAVAIL},
		{"too long", call(c.WriteToAddrPort(make([]byte, 65508+20), peer)), syscall.EMSGSIZE},
		{"to nowhere", call(c.WriteToAddrPort([]byte("x"), netip.AddrPort{})), syscall.EDESTADDRREQ},
		{"to nil", call(c.WriteTo([]byte("x"), nil)), syscall.EDESTADDRREQ},
		{"Write without a peer", call(c.Write([]byte("x"))), syscall.EDESTADDRREQ},
		{"WriteTo with a peer", call(dialed.WriteTo([]byte("x"), to)), net.ErrWriteToConnected},
		{"no iovs", call(c.RecvFromZC(nil, make([]zctap.Datagram, 1))), syscall.EINVAL},
		{"no datagrams", call(c.RecvFromZC(make([]zctap.Iov, 1), nil)), syscall.EINVAL},
		{"no group", c.JoinGroup(own), syscall.EINVAL},
		{"a group on one address", dialed.JoinGroup(netip.MustParseAddr("239.1.2.3")), syscall.EINVAL},
	} {
		var op *zctap.OpError
		if !errors.As(tt.err, &op) || tt.want != nil && !errors.Is(tt.err, tt.want) {
			f.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
}

// A dialed socket hears its peer only.
func testDatagramConnected(f *fixture) {
	f.open(zctap.Config{})
	_, p, _ := f.packets()
	c, err := f.q.DialPacket("udp", p.LocalAddr().String())
	f.ok(err)
	defer c.Close()
	f.ok(c.SetDeadline(time.Now().Add(patience)))
	stranger, err := f.peer.ListenPacket("udp")
	f.ok(err)
	defer stranger.Close()
	_, err = c.Write([]byte("hello"))
	f.ok(err)
	b := make([]byte, 100)
	n, from, err := p.ReadFrom(b)
	f.ok(err)
	if string(b[:n]) != "hello" {
		f.Errorf("%q", b[:n])
	}
	_, err = stranger.WriteTo([]byte("bad"), from)
	f.ok(err)
	_, err = p.WriteTo([]byte("good"), from)
	f.ok(err)
	f.recvFrom(c, 1, func(d *zctap.Datagram, got []byte) {
		if string(got) != "good" || d.Src != addrPort(p.LocalAddr()) || d.Dst != addrPort(from) || d.Dst != addrPort(c.LocalAddr()) {
			f.Errorf("%q, %+v", got, d)
		}
	})
}

// That nobody is at the peer's port is told once, and the socket goes on.
func testDatagramRefused(f *fixture) {
	f.open(zctap.Config{})
	if !f.Refusals {
		return // nothing to promise
	}
	p, err := f.peer.ListenPacket("udp")
	f.ok(err)
	to := p.LocalAddr().String()
	f.ok(p.Close())
	c, err := f.q.DialPacket("udp", to)
	f.ok(err)
	defer c.Close()
	f.ok(c.SetReadDeadline(time.Now().Add(patience)))
	for range 2 {
		_, err = c.Write([]byte("x"))
		f.ok(err)
		_, err := c.RecvFromZC(make([]zctap.Iov, 1), make([]zctap.Datagram, 1))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			f.Fatalf("after a write to a port where nobody is: %v", err)
		}
	}
	f.ok(c.SetReadDeadline(time.Now()))
	if _, err := c.RecvFromZC(make([]zctap.Iov, 1), make([]zctap.Datagram, 1)); errors.Is(err, syscall.ECONNREFUSED) {
		f.Error("it is told twice")
	}
}

// What is sent to a group comes in between JoinGroup and LeaveGroup.
func testDatagramGroups(f *fixture) {
	f.open(zctap.Config{Interface: f.Interface})
	c, p, to := f.packets()
	group, other := netip.MustParseAddr("239.7.7.7"), netip.MustParseAddr("239.7.7.8")
	if addrPort(to).Addr().Is6() {
		group, other = netip.MustParseAddr("ff05::7:7"), netip.MustParseAddr("ff05::7:8")
	}
	send := func(to netip.AddrPort, what string) {
		f.Helper()
		_, err := p.WriteTo([]byte(what), net.UDPAddrFromAddrPort(to))
		f.ok(err)
	}
	atPort := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, addrPort(to).Port()) }
	if f.AnyGroup {
		return
	}
	f.ok(c.JoinGroup(group))
	if err := c.JoinGroup(group); !errors.Is(err, syscall.EADDRINUSE) {
		f.Errorf("joined twice: %v", err)
	}
	send(atPort(other), "other group")
	send(atPort(group), "group")
	f.recvFrom(c, 1, func(d *zctap.Datagram, b []byte) {
		if string(b) != "group" || d.Dst != atPort(group) || d.Src != addrPort(p.LocalAddr()) {
			f.Errorf("%q, %+v", b, d)
		}
	})
	f.ok(c.LeaveGroup(group))
	if err := c.LeaveGroup(group); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		f.Errorf("left twice: %v", err)
	}
	send(atPort(group), "left")
	send(addrPort(to), "unicast")
	f.recvFrom(c, 1, func(d *zctap.Datagram, b []byte) {
		if string(b) != "unicast" || d.Dst != addrPort(to) {
			f.Errorf("%q, %+v", b, d)
		}
	})
	if group.Is4() { // the kernel bounds IPv6's by their memory
		f.tooManyGroups(c, group)
	}
}

// tooManyGroups joins as many groups as a socket may, and then one that takes
// another one's place.
func (f *fixture) tooManyGroups(c *zctap.PacketConn, first netip.Addr) {
	f.Helper()
	const maxGroups = 20
	last := first
	for range maxGroups {
		f.ok(c.JoinGroup(last))
		last = last.Next()
	}
	var op *zctap.OpError
	if err := c.JoinGroup(last); !errors.Is(err, syscall.ENOBUFS) || !errors.As(err, &op) || op.Op != "join" {
		f.Errorf("one group too many: %v", err)
	}
	f.ok(c.LeaveGroup(first))
	f.ok(c.JoinGroup(last))
}

// A socket that nobody reads takes a bounded part of the region, counts what it
// drops, and works when somebody does.
func testDatagramFlood(f *fixture) {
	f.open(zctap.Config{Buffers: 256})
	c, p, to := f.packets()
	b := make([]byte, 1200)
	drops := func() (n uint64) {
		for _, k := range f.q.Stats().Drops {
			n += k
		}
		return n
	}
	f.eventually("a drop is counted", func() bool {
		for range 200 {
			_, err := p.WriteTo(b, to)
			f.ok(err)
		}
		return drops() > 0
	})
	if n := f.q.Stats().FreeBuffers; n == 0 {
		f.Error("a socket that nobody reads has all buffers")
	}
	// The flood is over when the last word is heard; it may be dropped, too.
	iovs, dgrams := make([]zctap.Iov, 64), make([]zctap.Datagram, 64)
	f.eventually("the last word is heard", func() bool {
		_, err := p.WriteTo([]byte("last"), to)
		f.ok(err)
		f.ok(c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)))
		last := false
		for {
			n, err := c.RecvFromZC(iovs, dgrams)
			if err != nil {
				return last
			}
			at := 0
			for i := range dgrams[:n] {
				last = last || dgrams[i].Len == 4
				at += dgrams[i].Iovs
			}
			f.release(iovs[:at])
		}
	})
}

// Armed sockets complete a datagram at a time.
func testDatagramCompletions(f *fixture) {
	f.open(zctap.Config{})
	c, p, to := f.packets()
	_, err := p.WriteTo([]byte("before"), to)
	f.ok(err)
	f.ok(c.Arm(77))
	if err := c.Arm(78); !errors.Is(err, syscall.EBUSY) {
		f.Errorf("armed twice: %v", err)
	}
	f.ok(f.peer.SetTrafficClass(p, 1))
	_, err = p.WriteTo([]byte("behind it"), to)
	f.ok(err)
	var got []string
	cqes := make([]zctap.Completion, 4)
	for len(got) < 2 {
		n, err := f.waitFor(cqes)
		f.ok(err)
		for i := range cqes[:n] {
			e := &cqes[i]
			b := ""
			for j := range e.Iovs {
				b += string(e.Iovs[j].Bytes())
			}
			if e.UserData != 77 || e.Res != len(b) || e.Flags&zctap.More == 0 || e.Src != addrPort(p.LocalAddr()) ||
				e.Dst != addrPort(to) || e.UnixNano == 0 || int(e.TrafficClass) != len(got) {
				f.Errorf("%q: %+v", b, e)
			}
			got = append(got, b)
			f.release(e.Iovs)
		}
	}
	if got[0] != "before" || got[1] != "behind it" {
		f.Errorf("%q", got)
	}
}
