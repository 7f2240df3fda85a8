package driver

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// packet builds an IP packet of the protocol with the transport header l4 and n
// bytes of payload.
func packet(t testing.TB, src, dst netip.Addr, proto uint8, l4 []byte, n int) []byte {
	t.Helper()
	b := make([]byte, 40)
	h := wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: len(l4) + n}
	m, err := wire.PutIP(b, &h)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(b[:m], l4...), make([]byte, n)...)
}

func tcpHeader(t testing.TB, h wire.TCP) []byte {
	t.Helper()
	b := make([]byte, 60)
	n, err := wire.PutTCP(b, &h)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func udpHeader(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, wire.UDPHeaderLen)
	if _, err := wire.PutUDP(b, &wire.UDP{SrcPort: 1, DstPort: 2, PayloadLen: n}); err != nil {
		t.Fatal(err)
	}
	b[6] = 1 // IPv6 refuses datagrams without a checksum
	return b
}

func ethernet(t testing.TB, e wire.Ethernet, packet []byte) []byte {
	t.Helper()
	b := make([]byte, 22)
	n, err := wire.PutEthernet(b, &e)
	if err != nil {
		t.Fatal(err)
	}
	return append(b[:n], packet...)
}

func TestHeaderLen(t *testing.T) {
	ack := tcpHeader(t, wire.TCP{Flags: wire.ACK})
	stamped := tcpHeader(t, wire.TCP{Flags: wire.ACK, Options: wire.TCPOptions{HasTimestamps: true}})
	tcp4 := packet(t, src4, dst4, wire.ProtoTCP, ack, 1000)
	fragment := packet(t, src4, dst4, wire.ProtoTCP, ack, 1000)
	fragment[6], fragment[7] = 0x20, 0 // more fragments
	fragment[10], fragment[11] = 0, 0  // whose checksum is not looked at
	for _, tt := range []struct {
		name  string
		frame []byte
		peek  int // bytes of head; 0: all
		link  int
		want  int
	}{
		{"IPv4 TCP", tcp4, 0, 0, 40},
		{"IPv4 TCP, options", packet(t, src4, dst4, wire.ProtoTCP, stamped, 1000), 0, 0, 52},
		{"IPv6 TCP, options", packet(t, src6, dst6, wire.ProtoTCP, stamped, 1000), 0, 0, 72},
		{"IPv4 UDP", packet(t, src4, dst4, wire.ProtoUDP, udpHeader(t, 9), 9), 0, 0, 28},
		{"IPv6 UDP", packet(t, src6, dst6, wire.ProtoUDP, udpHeader(t, 9), 9), 0, 0, 48},
		{"no payload", packet(t, src4, dst4, wire.ProtoTCP, ack, 0), 0, 0, 40},
		{"head is just the headers", tcp4, 40, 0, 40},
		{"head is too short", tcp4, 39, 0, 0},
		{"no head", tcp4, -1, 0, 0},
		{"ICMP", packet(t, src4, dst4, wire.ProtoICMP, make([]byte, 8), 56), 0, 0, 0},
		{"fragment", fragment, 0, 0, 0},
		{"not IP", []byte{0xff, 1, 2, 3}, 0, 0, 0},
		{"Ethernet", ethernet(t, wire.Ethernet{EtherType: wire.EtherTypeIPv4}, tcp4), 0, 14, 54},
		{"Ethernet, VLAN tag", ethernet(t, wire.Ethernet{EtherType: wire.EtherTypeIPv4, Tags: 1}, tcp4), 0, 14, 58},
		{"ARP", ethernet(t, wire.Ethernet{EtherType: wire.EtherTypeARP}, make([]byte, 28)), 0, 14, 0},
		{"shorter than a link header", []byte{1, 2, 3}, 0, 14, 0},
	} {
		head := tt.frame
		if tt.peek != 0 {
			head = head[:max(tt.peek, 0)]
		}
		if got := HeaderLen(head, len(tt.frame), tt.link); got != tt.want {
			t.Errorf("%s: HeaderLen = %d, want %d", tt.name, got, tt.want)
		}
	}
}

func FuzzHeaderLen(f *testing.F) {
	tcp := packet(f, src6, dst6, wire.ProtoTCP, tcpHeader(f, wire.TCP{Flags: wire.ACK}), 30)
	f.Add(tcp, 0, false)
	f.Add(ethernet(f, wire.Ethernet{EtherType: wire.EtherTypeIPv6, Tags: 2}, tcp), 100, true)
	f.Fuzz(func(t *testing.T, head []byte, more int, ether bool) {
		link := 0
		if ether {
			link = 14
		}
		n := HeaderLen(head, len(head)+more&0xffff, link)
		if n != 0 && (n < link+28 || n > len(head)) {
			t.Errorf("HeaderLen = %d of a head of %d bytes", n, len(head))
		}
	})
}
