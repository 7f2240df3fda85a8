package stack

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// layouts cuts a frame of n bytes between head and buffers at every position,
// and its first bytes into small buffers in several ways.
func layouts(n int) []layout {
	var all []layout
	for i := range n + 1 {
		all = append(all, layout{i, []int{4096}}, layout{0, []int{max(i, 1), 4096}})
	}
	return append(all, layout{0, []int{1}}, layout{3, []int{2, 7, 1}}, layout{9, []int{5}})
}

// TestPayloadIsCutOut delivers a datagram in every layout: the payload comes
// out the same, and only what lay in Head was copied.
func TestPayloadIsCutOut(t *testing.T) {
	for _, link := range []int{0, wire.EthernetHeaderLen} {
		for _, a := range pairs {
			for _, checksum := range []driver.Checksum{driver.Unverified, driver.Vouched} {
				t.Run(fmt.Sprintf("link %d/%v/%v", link, a.us, checksum), func(t *testing.T) {
					testCut(t, link, a, checksum)
				})
			}
		}
	}
}

func testCut(t *testing.T, link int, a pair, checksum driver.Checksum) {
	r := newRig(t, func(_ *Config, c *driver.Caps) { c.LinkHeader = link })
	u, err := r.stack.ListenPacket("udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
	payload := pattern(1, 30)
	b := ethernet(t, link, a, udpPacket(t, src, dst, payload))
	headers := len(b) - len(payload)
	padded := append(bytes.Clone(b), make([]byte, 17)...)
	for _, l := range layouts(len(padded)) {
		f := r.frame(padded, l)
		f.Checksum = checksum
		if out := r.deliverFrame(f); len(out) != 0 {
			t.Fatalf("%+v: %d frames out", l, len(out))
		}
		m, got, copied := r.recv(u)
		if !bytes.Equal(got, payload) || m.Src != src || m.Dst != dst || m.Len != len(payload) || m.Truncated {
			t.Fatalf("%+v: %+v with %x", l, m, got)
		}
		if want := min(max(l.head-headers, 0), len(payload)); copied != want {
			t.Fatalf("%+v: %d bytes copied, want %d", l, copied, want)
		}
		r.wantFree()
	}
	r.wantDrops(nil)
	st := r.stack.Stats().UDP
	if n := uint64(len(layouts(len(padded)))); st.Datagrams != n || st.ZeroCopyBytes+st.CopiedBytes != n*uint64(len(payload)) {
		t.Errorf("stats %+v for %d datagrams", st, n)
	}
	r.closeSocket(u)
}

// ethernet puts a link header of the given length, 0 or 14, before a packet.
func ethernet(t *testing.T, link int, a pair, packet []byte) []byte {
	t.Helper()
	if link == 0 {
		return packet
	}
	e := wire.Ethernet{EtherType: wire.EtherTypeIPv4}
	if a.us.Is6() {
		e.EtherType = wire.EtherTypeIPv6
	}
	b := make([]byte, link)
	if _, err := wire.PutEthernet(b, &e); err != nil {
		t.Fatal(err)
	}
	return append(b, packet...)
}

// TestHeadPayloadNeedsABuffer: payload that lies in the head is lost when there
// is no buffer to copy it to, and nothing else is.
func TestHeadPayloadNeedsABuffer(t *testing.T) {
	r := newRig(t)
	u, err := r.stack.ListenPacket("udp4", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	b := udpPacket(t, netip.AddrPortFrom(peer4, 999), netip.AddrPortFrom(us4.Addr(), 53), pattern(1, 5000))
	f := r.frame(b, layout{100, []int{4096}})
	rest := make([]uint16, rigBuffers)
	rest = rest[:r.pool.Alloc(rest)]
	r.deliverFrame(f)
	r.wantDrops(map[string]uint64{"no-buffer": 1})
	if u.Queue.Len() != 0 || u.Held() != 0 {
		t.Errorf("%d datagrams, %d buffers held", u.Queue.Len(), u.Held())
	}
	for _, id := range rest {
		r.pool.Put(id)
	}
	r.wantFree()
	r.deliver(b, layout{100, []int{4096}})
	if _, got, copied := r.recv(u); !bytes.Equal(got, pattern(1, 5000)) || copied != 100-28 {
		t.Errorf("afterwards %d bytes, %d of them copied", len(got), copied)
	}
	r.closeSocket(u)
}

// TestDropCauses: what must not get in is dropped, counted by its cause, and
// draws no answer.
func TestDropCauses(t *testing.T) {
	us, peer := us4.Addr(), peer4
	from, to := netip.AddrPortFrom(peer, 999), netip.AddrPortFrom(us, 53)
	good := udpPacket(t, from, to, pattern(1, 40))
	ping := pingPacket(t, pairs[0], pattern(1, 40))
	segment := tcpPacket(t, peer, us, wire.TCP{SrcPort: 999, DstPort: 80, Flags: wire.SYN}, pattern(1, 40))
	flip := func(b []byte, off int) []byte {
		b = bytes.Clone(b)
		b[off] ^= 0x10
		return b
	}
	fragment := bytes.Clone(segment)
	fragment[6] = 0x20 // more fragments
	fragment = fragment[:20+16]
	fragment[3] = 36
	fixIPv4(fragment)
	tests := []struct {
		cause string
		frame []byte
	}{
		{"bad-checksum", flip(good, 50)},
		{"bad-checksum", flip(ping, 50)},
		{"bad-checksum", flip(segment, 50)},
		{"bad-checksum", flip(good, 26)}, // the checksum itself
		{"bad-header-checksum", flip(good, 10)},
		{"truncated", good[:len(good)-1]},
		{"truncated", good[:7]},
		{"truncated", nil},
		{"bad-version", append([]byte{0x50}, good[1:]...)},
		{"fragment-tiny", fragment},
		{"not-ours", udpPacket(t, from, netip.MustParseAddrPort("192.0.2.3:53"), nil)},
		{"not-ours", udpPacket(t, from, netip.MustParseAddrPort("192.0.2.255:53"), nil)},
		{"not-ours", udpPacket(t, from, netip.MustParseAddrPort("224.0.0.1:53"), nil)},
		{"not-ours", tcpPacket(t, peer, netip.MustParseAddr("192.0.2.3"), wire.TCP{Flags: wire.SYN}, nil)},
		{"not-ours", pingPacket(t, pair{netip.MustParseAddr("192.0.2.255"), peer}, nil)},
		{"martian", udpPacket(t, to, to, nil)},
		{"martian", tcpPacket(t, us, us, wire.TCP{SrcPort: 80, DstPort: 80, Flags: wire.SYN}, nil)},
		{"martian", pingPacket(t, pair{us, netip.MustParseAddr("192.0.2.255")}, nil)},
		{"martian", udpPacket(t, netip.MustParseAddrPort("127.0.0.1:9"), to, nil)},
		{"martian", udpPacket(t, netip.MustParseAddrPort("0.0.0.0:9"), to, nil)},
		{"bad-address", udpPacket(t, netip.MustParseAddrPort("224.0.0.1:9"), to, nil)},
		{"unknown-protocol", protocol(good, 47)},
		{"icmp-ignored", packetOf(t, peer, us, wire.ProtoICMP, []byte{0, 0, 0, 0, 0, 0, 0, 0})},
		{"no-connection", tcpPacket(t, peer, us, wire.TCP{SrcPort: 9, DstPort: 80, Flags: wire.RST}, nil)},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprintf("%d %s", i, tt.cause), func(t *testing.T) {
			r := newRig(t)
			for _, l := range []layout{whole, {28, []int{4096}}, {0, []int{10}}, {4096, nil}} {
				if out := r.deliver(tt.frame, l); len(out) != 0 {
					t.Errorf("%+v drew %d frames", l, len(out))
				}
			}
			r.wantDrops(map[string]uint64{tt.cause: 4})
		})
	}
}

func TestLinkDropCauses(t *testing.T) {
	good := udpPacket(t, netip.AddrPortFrom(peer4, 999), netip.AddrPortFrom(us4.Addr(), 53), nil)
	for _, tt := range []struct {
		cause string
		e     wire.Ethernet
	}{
		{"not-ip", wire.Ethernet{EtherType: wire.EtherTypeARP}},
		{"vlan", wire.Ethernet{EtherType: wire.EtherTypeIPv4, Tags: 1}},
	} {
		r := newRig(t, func(_ *Config, c *driver.Caps) { c.LinkHeader = wire.EthernetHeaderLen })
		b := make([]byte, 64)
		n, err := wire.PutEthernet(b, &tt.e)
		if err != nil {
			t.Fatal(err)
		}
		r.deliver(append(b[:n], good...), whole)
		r.deliver(b[:9], whole)
		r.wantDrops(map[string]uint64{tt.cause: 1, "truncated": 1})
	}
}

// protocol is an IPv4 packet of another protocol.
func protocol(b []byte, proto uint8) []byte {
	b = bytes.Clone(b)
	b[9] = proto
	return fixIPv4(b)
}

func fixIPv4(b []byte) []byte {
	b[10], b[11] = 0, 0
	var s wire.Sum
	s.Add(b[:20])
	sum := s.Checksum()
	b[10], b[11] = byte(sum>>8), byte(sum)
	return b
}
