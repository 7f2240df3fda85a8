package zctap_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// TestNSXDPBroadcast: what is sent to all hosts comes to who listens at that port, here or
// in the kernel, and what is sent from here reaches the kernel at the other end.
func TestNSXDPBroadcast(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	q := w.open(zctap.XDPConfig{}, 1024)
	ours, err := q.ListenPacket("udp4", ":7007")
	if err != nil {
		t.Fatal(err)
	}
	// Through the kernel's socket at this port what is not steered comes.
	var kernels, theirs net.PacketConn
	w.in(w.ours, func() (err error) { kernels, err = net.ListenPacket("udp4", ":7008"); return err })
	defer kernels.Close()
	w.in(w.theirs, func() (err error) { theirs, err = net.ListenPacket("udp4", ":7009"); return err })
	defer theirs.Close()
	exchange := func(from, to net.PacketConn, at netip.Addr) {
		t.Helper()
		port := to.LocalAddr().(*net.UDPAddr).Port
		what := []byte(at.String())
		if _, err := from.WriteTo(what, &net.UDPAddr{IP: at.AsSlice(), Port: port}); err != nil {
			t.Fatalf("to %v: %v", at, err)
		}
		if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, src, err := to.ReadFrom(b)
		if err != nil || !bytes.Equal(b[:n], what) {
			t.Fatalf("to %v, port %d: %q from %v, %v", at, port, b[:n], src, err)
		}
	}
	subnet, limited := netip.MustParseAddr("10.89.0.255"), netip.MustParseAddr("255.255.255.255")
	exchange(theirs, ours, subnet)
	exchange(theirs, kernels, subnet)
	exchange(ours, theirs, subnet)
	exchange(ours, theirs, limited)
	w.in(w.theirs, func() error {
		// A route for all hosts on the wire: by default the kernel has none.
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: vethPeer4.Addr().AsSlice()}, &net.UDPAddr{IP: net.IPv4bcast, Port: 7007})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("wire")); err != nil {
			return err
		}
		b := make([]byte, 64)
		n, _, err := ours.ReadFrom(b)
		if string(b[:n]) != "wire" {
			t.Errorf("%q, %v", b[:n], err)
		}
		return err
	})
	w.close(q)
}
