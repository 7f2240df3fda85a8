package enginetest

import (
	"net"
	"net/netip"
	"time"

	"github.com/zctap/zctap"
)

// packets returns a UDP socket of the queue and the peer's, and the address by
// which the peer reaches the former.
func (f *fixture) packets() (*zctap.PacketConn, net.PacketConn, net.Addr) {
	f.Helper()
	f.reach()
	c, err := f.q.ListenPacket("udp", ":0")
	f.ok(err)
	f.Cleanup(func() { c.Close() })
	f.ok(c.SetDeadline(time.Now().Add(patience)))
	p, err := f.peer.ListenPacket("udp")
	f.ok(err)
	f.Cleanup(func() { p.Close() })
	f.ok(p.SetDeadline(time.Now().Add(patience)))
	return c, p, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(f.addressOf(c.LocalAddr())))
}

// reach sends datagrams to the peer until one is heard: on a wire with neighbors to
// be found, what is sent before they are may be lost, as datagrams may.
func (f *fixture) reach() {
	f.Helper()
	c, err := f.q.ListenPacket("udp", ":0")
	f.ok(err)
	defer c.Close()
	p, err := f.peer.ListenPacket("udp")
	f.ok(err)
	defer p.Close()
	f.eventually("the peer hears a datagram", func() bool {
		_, err := c.WriteTo([]byte("anybody?"), p.LocalAddr())
		f.ok(err)
		f.ok(p.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
		_, _, err = p.ReadFrom(make([]byte, 10))
		return err == nil
	})
}

func testDatagrams(f *fixture) {
	f.open(zctap.Config{})
	c, p, to := f.packets()
	sizes := []int{0, 1, 2, 100, 1000, 1400}
	iovs := make([]zctap.Iov, 32)
	dgrams := make([]zctap.Datagram, 8)
	for _, size := range sizes {
		b := make([]byte, size)
		f.pat.Fill(b, 0)
		_, err := p.WriteTo(b, to)
		f.ok(err)
		n, err := c.RecvFromZC(iovs, dgrams)
		f.ok(err)
		d := dgrams[0]
		if n != 1 || d.Len != size || d.Truncated || d.Src.String() != p.LocalAddr().String() {
			f.Fatalf("datagram of %d: %d datagrams, %+v", size, n, d)
		}
		if got := f.check(iovs[:d.Iovs], 0); got != int64(size) {
			f.Errorf("datagram of %d: %d bytes", size, got)
		}
		f.release(iovs[:d.Iovs])
		// And back, to whence it came.
		_, err = c.WriteToAddrPort(b, d.Src)
		f.ok(err)
		back := make([]byte, 2000)
		k, from, err := p.ReadFrom(back)
		f.ok(err)
		if k != size || from.String() != to.String() {
			f.Errorf("answer of %d bytes from %v", k, from)
		}
	}
	// The copying side of the same socket.
	_, err := p.WriteTo([]byte("plain"), to)
	f.ok(err)
	b := make([]byte, 3)
	n, src, err := c.ReadFrom(b)
	if n != 3 || string(b) != "pla" || err != nil || src.String() != p.LocalAddr().String() {
		f.Errorf("ReadFrom: %d %q from %v, %v", n, b, src, err)
	}
}

// A datagram with more pieces than iovs loses its tail, says so, and harms no
// other.
func testDatagramTruncation(f *fixture) {
	f.open(zctap.Config{})
	c, p, to := f.packets()
	big := make([]byte, 1400)
	f.pat.Fill(big, 0)
	// Small enough for any wire, so what makes it more than one piece is up to
	// the engine; a datagram of one piece must not be called truncated.
	for range 3 {
		_, err := p.WriteTo(big, to)
		f.ok(err)
	}
	got := 0
	for got < 3 {
		iovs := make([]zctap.Iov, 1)
		dgrams := make([]zctap.Datagram, 3)
		n, err := c.RecvFromZC(iovs, dgrams)
		f.ok(err)
		if n != 1 {
			f.Fatalf("%d datagrams in one iov", n)
		}
		d := dgrams[0]
		length := f.check(iovs[:d.Iovs], 0)
		if d.Len != len(big) || d.Truncated != (length < int64(len(big))) {
			f.Errorf("%d bytes of %+v", length, d)
		}
		f.release(iovs[:d.Iovs])
		got++
	}
}
