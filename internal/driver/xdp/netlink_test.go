//go:build linux

package xdp

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestAttrs(t *testing.T) {
	b := appendAttr(nil, 3, []byte("odd"))
	b = appendAttr32(b, unix.NLA_F_NESTED|7, 5)
	b = appendAttr(b, 9, nil)
	var types []uint16
	var values [][]byte
	eachAttr(b, func(typ uint16, v []byte) { types, values = append(types, typ), append(values, bytes.Clone(v)) })
	if len(types) != 3 || types[0] != 3 || types[1] != 7 || types[2] != 9 || string(values[0]) != "odd" || len(values[1]) != 4 || len(values[2]) != 0 {
		t.Errorf("types %v, values %q", types, values)
	}
	for _, bad := range [][]byte{{}, {1}, {3, 0, 1, 0}, {9, 0, 1, 0, 1, 2, 3, 4}, {255, 255, 1, 0}} {
		eachAttr(bad, func(typ uint16, v []byte) { t.Errorf("%v has attribute %d of %d bytes", bad, typ, len(v)) })
	}
}

// linkMessage is an RTM_NEWLINK or RTM_DELLINK.
func linkMessage(typ uint16, family uint8, index int, flags uint32, attrs []byte) *syscall.NetlinkMessage {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint16(b[2:], unix.ARPHRD_ETHER)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	return &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: typ}, Data: append(b, attrs...)}
}

func TestLinkUpdate(t *testing.T) {
	attrs := appendAttr(nil, unix.IFLA_IFNAME, []byte("eth1\x00"))
	attrs = appendAttr(attrs, unix.IFLA_ADDRESS, ourMAC[:])
	attrs = appendAttr32(attrs, unix.IFLA_MTU, 9000)
	old := link{index: 5, name: "eth0", mtu: 1500, ethernet: true}
	changed := link{index: 5, name: "eth1", mac: ourMAC, mtu: 9000, up: true, ethernet: true}
	failed := make([]byte, 4)
	binary.NativeEndian.PutUint32(failed, ^uint32(unix.ENODEV)+1)
	odd := appendAttr(appendAttr(nil, unix.IFLA_ADDRESS, []byte("long address")), unix.IFLA_MTU, []byte("x"))
	for _, tt := range []struct {
		name string
		m    *syscall.NetlinkMessage
		want link
	}{
		{"all", linkMessage(unix.RTM_NEWLINK, unix.AF_UNSPEC, 5, unix.IFF_UP, attrs), changed},
		{"another interface", linkMessage(unix.RTM_NEWLINK, unix.AF_UNSPEC, 6, unix.IFF_UP, attrs), old},
		{"of a bridge", linkMessage(unix.RTM_NEWLINK, unix.AF_BRIDGE, 5, unix.IFF_UP, attrs), old},
		{"what is left of attributes", linkMessage(unix.RTM_NEWLINK, unix.AF_UNSPEC, 5, 0, odd), old},
		{"deleted", linkMessage(unix.RTM_DELLINK, unix.AF_UNSPEC, 5, 0, nil), link{index: 5, name: "eth0", mtu: 1500, gone: true, ethernet: true}},
		{"another deleted", linkMessage(unix.RTM_DELLINK, unix.AF_UNSPEC, 6, 0, nil), old},
		{"left its bridge", linkMessage(unix.RTM_DELLINK, unix.AF_BRIDGE, 5, 0, nil), old},
		{"asked for and not found", &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NLMSG_ERROR}, Data: failed},
			link{index: 5, name: "eth0", mtu: 1500, gone: true, ethernet: true}},
		{"acknowledged", &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NLMSG_ERROR}, Data: make([]byte, 4)}, old},
		{"short error", &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NLMSG_ERROR}}, old},
		{"short", &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWLINK}, Data: []byte{0, 0}}, old},
		{"short, deleted", &syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_DELLINK}, Data: []byte{0, 0}}, old},
	} {
		l := old
		if l.update(tt.m); l != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, l, tt.want)
		}
	}
}

// TestNSLostMessages: what was lost because there was too much of it is asked for.
func TestNSLostMessages(t *testing.T) {
	for _, gone := range []bool{false, true} {
		w := newWorld(t, worldOptions{only4: true})
		d := w.open(w.config(256))
		fatal(t, unix.SetsockoptInt(d.watch.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096))
		for range 20 {
			w.change(w.ours, ourEnd, netlink.LinkSetDown)
			w.change(w.ours, ourEnd, netlink.LinkSetUp)
		}
		if gone {
			w.change(w.ours, ourEnd, netlink.LinkDel)
			for d.Wait(0) == nil {
			}
			if !d.link.gone {
				t.Error("the driver has not noticed that the interface is gone")
			}
			continue
		}
		w.change(w.ours, ourEnd, netlink.LinkSetDown)
		settle(t, d, func() bool { return !d.link.up })
		// The answer may be one from between: what counts is the last.
		w.change(w.ours, ourEnd, netlink.LinkSetUp)
		settle(t, d, func() bool { return d.link.up })
	}
}

func FuzzLink(f *testing.F) {
	f.Add(linkMessage(unix.RTM_NEWLINK, unix.AF_UNSPEC, 5, unix.IFF_UP, appendAttr32(nil, unix.IFLA_MTU, 1500)).Data, uint16(unix.RTM_NEWLINK))
	f.Fuzz(func(t *testing.T, b []byte, typ uint16) {
		l := link{index: 5}
		l.update(&syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: typ}, Data: b})
		if l.index != 5 {
			t.Errorf("the index is %d", l.index)
		}
	})
}
