package zctap_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// TestNSXDPConfirmsNeighbors: while a connection makes progress, received or sent,
// the kernel's entry of its peer becomes reachable again when it has gone stale,
// though nobody asks the peer.
func TestNSXDPConfirmsNeighbors(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	for _, family := range []string{"ipv4", "ipv6"} {
		// The kernel itself would ask the peer within the hour.
		if err := w.ours.SetSysctl("net/"+family+"/neigh/veth0/delay_first_probe_time", "3600"); err != nil {
			t.Fatal(err)
		}
	}
	q := w.open(zctap.XDPConfig{}, 1024)
	for _, tt := range []struct {
		network    string
		ours, peer netip.Prefix
	}{{"tcp4", vethOurs4, vethPeer4}, {"tcp6", vethOurs6, vethPeer6}} {
		ln, err := q.Listen(tt.network, netip.AddrPortFrom(tt.ours.Addr(), 0).String())
		if err != nil {
			t.Fatal(err)
		}
		c := w.dial(w.theirs, ln.Addr().String())
		if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		z, err := ln.AcceptZC()
		if err != nil {
			t.Fatal(err)
		}
		peer := tt.peer.Addr()
		for what, d := range map[string]struct{ from, to net.Conn }{"received": {c, z}, "sent": {z, c}} {
			w.setNeighbor(peer, unix.NUD_STALE)
			w.eventually(what+": the neighbor is reachable", func() bool {
				if err := d.to.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				if _, err := d.from.Write([]byte("progress")); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 8)
				if _, err := io.ReadFull(d.to, got); err != nil || !bytes.Equal(got, []byte("progress")) {
					t.Fatalf("%q, %v", got, err)
				}
				return w.neighbor(peer) == unix.NUD_REACHABLE
			})
		}
		z.Close()
		c.Close()
		ln.Close()
	}
	w.close(q)
}

// neighbor is the state of the kernel's entry of a neighbor on veth0; 0: none.
func (w *world) neighbor(a netip.Addr) (state int) {
	w.Helper()
	w.link(w.ours, "veth0", func(l netlink.Link) error {
		all, err := netlink.NeighList(l.Attrs().Index, 0)
		for _, n := range all {
			if n.IP.Equal(a.AsSlice()) {
				state = n.State
			}
		}
		return err
	})
	return state
}

// setNeighbor sets the state of the kernel's entry of the peer on veth0.
func (w *world) setNeighbor(a netip.Addr, state int) {
	w.Helper()
	var mac net.HardwareAddr
	w.link(w.theirs, "veth1", func(l netlink.Link) error { mac = l.Attrs().HardwareAddr; return nil })
	w.link(w.ours, "veth0", func(l netlink.Link) error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: a.AsSlice(), HardwareAddr: mac, State: state})
	})
}
