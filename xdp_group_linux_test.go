package zctap_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// TestNSXDPGroups: a multicast group is joined at the kernel, so that routers and the
// NIC know, and left with LeaveGroup and with Close; its datagrams come to whom they
// are for, and no others.
func TestNSXDPGroups(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	for _, tt := range []struct {
		network string
		group   netip.Addr
		table   string // of the kernel's memberships
		entry   string
		from    netip.Prefix
	}{
		{"udp4", netip.MustParseAddr("239.7.7.7"), "/proc/thread-self/net/igmp", "070707EF", vethPeer4},
		{"udp6", netip.MustParseAddr("ff05::7:7"), "/proc/thread-self/net/igmp6", "ff050000000000000000000000070007", vethPeer6},
	} {
		for _, at := range []string{"all addresses", "the group"} {
			t.Run(tt.network+", bound to "+at, func(t *testing.T) {
				q := w.open(zctap.XDPConfig{}, 1024)
				member := func() bool {
					var b []byte
					w.in(w.ours, func() (err error) { b, err = os.ReadFile(tt.table); return err })
					return strings.Contains(string(b), tt.entry)
				}
				local := ":0"
				if at == "the group" {
					local = netip.AddrPortFrom(tt.group, 7007).String()
				}
				c, err := q.ListenPacket(tt.network, local)
				if err != nil {
					t.Fatal(err)
				}
				port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
				if member() {
					t.Error("a member before JoinGroup")
				}
				join := func() {
					t.Helper()
					if err := c.JoinGroup(tt.group); err != nil {
						t.Fatal(err)
					}
					if !member() {
						t.Error("no member after JoinGroup")
					}
				}
				join()
				if err := c.JoinGroup(tt.group); !errors.Is(err, syscall.EADDRINUSE) {
					t.Errorf("joined twice: %v", err)
				}
				var from net.PacketConn
				w.in(w.theirs, func() (err error) {
					from, err = net.ListenPacket(tt.network, netip.AddrPortFrom(tt.from.Addr(), 0).String())
					return err
				})
				defer from.Close()
				send := func(to netip.AddrPort, what string) {
					t.Helper()
					if _, err := from.WriteTo([]byte(what), net.UDPAddrFromAddrPort(to)); err != nil {
						t.Fatal(err)
					}
				}
				expect := func(what string) {
					t.Helper()
					if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
						t.Fatal(err)
					}
					b := make([]byte, 64)
					if n, _, err := c.ReadFrom(b); err != nil || !bytes.Equal(b[:n], []byte(what)) {
						t.Fatalf("%q, %v; want %q", b[:n], err, what)
					}
				}
				send(netip.AddrPortFrom(tt.group.Next(), port), "another group")
				send(netip.AddrPortFrom(tt.group, port+1), "another port")
				send(netip.AddrPortFrom(tt.group, port), "first")
				expect("first")
				if err := c.LeaveGroup(tt.group); err != nil || member() {
					t.Errorf("LeaveGroup: %v; a member: %v", err, member())
				}
				if err := c.LeaveGroup(tt.group); !errors.Is(err, syscall.EADDRNOTAVAIL) {
					t.Errorf("left twice: %v", err)
				}
				send(netip.AddrPortFrom(tt.group, port), "left")
				join()
				send(netip.AddrPortFrom(tt.group, port), "again")
				expect("again")
				if err := c.Close(); err != nil || member() {
					t.Errorf("Close: %v; a member: %v", err, member())
				}
				w.close(q)
			})
		}
	}
}

// TestNSXDPGroupOfKernel: who has the same group at another port, in the kernel, still
// receives what is sent there.
func TestNSXDPGroupOfKernel(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	q := w.open(zctap.XDPConfig{}, 1024)
	group := net.IPv4(239, 7, 7, 7)
	ours, err := q.ListenPacket("udp4", ":7007")
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.JoinGroup(netip.MustParseAddr("239.7.7.7")); err != nil {
		t.Fatal(err)
	}
	var kernels *net.UDPConn
	w.in(w.ours, func() error {
		i, err := net.InterfaceByName("veth0")
		if err == nil {
			kernels, err = net.ListenMulticastUDP("udp4", i, &net.UDPAddr{IP: group, Port: 7008})
		}
		return err
	})
	defer kernels.Close()
	var from net.PacketConn
	w.in(w.theirs, func() (err error) { from, err = net.ListenPacket("udp4", "10.89.0.1:0"); return err })
	defer from.Close()
	for port, c := range map[int]net.PacketConn{7007: ours, 7008: kernels} {
		if _, err := from.WriteTo([]byte{byte(port)}, &net.UDPAddr{IP: group, Port: port}); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 8)
		if n, _, err := c.ReadFrom(b); n != 1 || b[0] != byte(port) || err != nil {
			t.Errorf("port %d: %v, %v", port, b[:n], err)
		}
	}
	ours.Close()
	w.close(q)
}
