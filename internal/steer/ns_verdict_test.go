//go:build linux

package steer

import (
	"bytes"
	"net/netip"
	"testing"
)

// cases are frames, and what is to become of each.
var cases = []struct {
	name  string
	frame []byte
	want  Verdict
}{
	{"listener", tcp4(port(peer4, 5), port(our4, 80)), RedirectListener},
	{"listener, IPv6", tcp6(port(peer6, 5), port(our6, 80)), RedirectListener},
	{"listener, UDP", udp4(port(peer4, 5), port(our4, 53)), RedirectListener},
	{"flow", tcp4(port(peer4, 1000), port(our4, 2000)), RedirectFlow},
	{"flow, UDP", udp4(port(peer4, 1000), port(our4, 2000)), RedirectFlow},
	{"flow, IPv6", tcp6(port(peer6, 1000), port(our6, 2000)), RedirectFlow},
	{"flow, IPv6 UDP", udp6(port(peer6, 1000), port(our6, 2000)), RedirectFlow},

	{"another port", tcp4(port(peer4, 5), port(our4, 81)), PassUnmatched},
	{"another address", tcp4(port(peer4, 5), port(other4, 80)), PassUnmatched},
	{"another protocol", udp4(port(peer4, 5), port(our4, 80)), PassUnmatched},
	{"another protocol, IPv6", udp6(port(peer6, 5), port(our6, 80)), PassUnmatched},
	{"another family", udp6(port(peer6, 5), port(our6, 53)), PassUnmatched},
	{"ports the other way", tcp4(port(peer4, 80), port(our4, 5)), PassUnmatched},
	{"addresses the other way", tcp4(port(our4, 1000), port(peer4, 2000)), PassUnmatched},
	{"flow, another local port", tcp4(port(peer4, 1000), port(our4, 2001)), PassUnmatched},
	{"flow, another remote port", tcp4(port(peer4, 1001), port(our4, 2000)), PassUnmatched},
	{"flow, another remote address", tcp4(port(other4, 1000), port(our4, 2000)), PassUnmatched},
	{"flow, another remote address, IPv6", tcp6(port(other6, 1000), port(our6, 2000)), PassUnmatched},
	{"IPv6, a mapped address of ours", tcp6(port(peer6, 5), port(addrs("::ffff:10.1.1.1")[0], 80)), PassUnmatched},

	{"IPv4 options", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, options: 10}.packet(transport(5, 80))), RedirectListener},
	{"IPv4 options, unmatched", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, options: 1}.packet(transport(80, 5))), PassUnmatched},
	{"IPv4, don't fragment", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, fragment: 0x4000}.packet(transport(5, 80))), RedirectListener},
	{"IPv4, reserved flag", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, fragment: 0x8000}.packet(transport(5, 80))), RedirectListener},
	{"IPv4, first fragment", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, fragment: 0x2000}.packet(transport(5, 80))), PassFragment},
	{"IPv4, a later fragment", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, fragment: 0x2001}.packet(transport(5, 80))), PassFragment},
	{"IPv4, the last fragment", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoTCP, fragment: 0x1fff}.packet(transport(5, 80))), PassFragment},
	{"IPv4 of version 6", with(tcp4(port(peer4, 5), port(our4, 80)), 14, 0x65), PassMalformed},
	{"IPv4 of 4 words", with(tcp4(port(peer4, 5), port(our4, 80)), 14, 0x44), PassMalformed},
	{"IPv4 options beyond the end", with(tcp4(port(peer4, 5), port(our4, 80)), 14, 0x4f), PassMalformed},

	{"IPv6 of version 4", with(tcp6(port(peer6, 5), port(our6, 80)), 14, 0x45), PassMalformed},
	{"IPv6 traffic class and flow label", with(tcp6(port(peer6, 5), port(our6, 80)), 14, 0x6f), RedirectListener},
	{"hop-by-hop options", ext(extHop, extensionHeader(protoTCP, 0, 0, transport(5, 80))), RedirectListener},
	{"destination options of 2 KiB", ext(extDest, extensionHeader(protoTCP, 255, 0, transport(5, 80))), RedirectListener},
	{"destination options beyond the end", ext(extDest, extensionHeader(protoTCP, 0, 0, nil)), PassMalformed},
	{"routing header at its end", ext(extRoute, extensionHeader(protoTCP, 2, 0, transport(5, 80))), RedirectListener},
	{"routing header with hops to come", ext(extRoute, extensionHeader(protoTCP, 2, 1, transport(5, 80))), PassExtension},
	{"the same byte in another header", ext(extDest, extensionHeader(protoTCP, 2, 1, transport(5, 80))), RedirectListener},
	{"8 extension headers", ext(extDest, chain(8, extDest, protoTCP, transport(5, 80))), RedirectListener},
	{"9 extension headers", ext(extDest, chain(9, extDest, protoTCP, transport(5, 80))), PassExtension},
	{"8 extension headers, the last without end", ext(extDest, chain(8, extDest, extDest, nil)), PassExtension},
	{"IPv6 fragment", ext(extFrag, extensionHeader(protoTCP, 0, 1, transport(5, 80))), PassFragment},
	{"IPv6 atomic fragment", ext(extFrag, extensionHeader(protoTCP, 0, 0, transport(5, 80))), PassFragment},
	{"IPv6 fragment behind options", ext(extHop, extensionHeader(extFrag, 0, 0, extensionHeader(protoTCP, 0, 0, transport(5, 80)))), PassFragment},
	{"authentication header", ext(extAuth, extensionHeader(protoTCP, 0, 0, transport(5, 80))), PassProtocol},
	{"no next header", ext(extNone, transport(5, 80)), PassProtocol},

	{"priority", ether(typeVLAN, tag(0xe000, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:])), RedirectListener},
	{"priority, IPv6", ether(typeVLAN, tag(0x1000, typeIPv6, tcp6(port(peer6, 5), port(our6, 80))[14:])), RedirectListener},
	{"priority, unmatched", ether(typeVLAN, tag(0, typeIPv4, tcp4(port(peer4, 5), port(our4, 81))[14:])), PassUnmatched},
	{"priority, ARP", ether(typeVLAN, tag(0, typeARP, make([]byte, 28))), PassNotIP},
	{"VLAN", ether(typeVLAN, tag(7, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:])), PassVLAN},
	{"VLAN, IPv6", ether(typeVLAN, tag(0xffff, typeIPv6, tcp6(port(peer6, 5), port(our6, 80))[14:])), PassVLAN},
	{"VLAN, ARP", ether(typeVLAN, tag(0x800, typeARP, make([]byte, 28))), PassVLAN},
	{"a priority and a VLAN", ether(typeVLAN, tag(0, typeVLAN, tag(8, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:]))), PassVLAN},
	{"two VLAN tags", ether(typeVLAN, tag(7, typeVLAN, tag(8, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:]))), PassVLAN},
	{"a service tag", ether(typeService, tag(7, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:])), PassVLAN},
	{"a service tag and a VLAN", ether(typeService, tag(7, typeVLAN, tag(8, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:]))), PassVLAN},

	{"ARP", ether(typeARP, make([]byte, 28)), PassNotIP},
	{"a length instead of a type", ether(46, make([]byte, 46)), PassNotIP},
	{"ping", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoICMP4}.packet(icmpMessage(8, 0, make([]byte, 56)))), PassProtocol},
	{"ping, IPv6", ether(typeIPv6, ip6{peer6, our6, protoICMP6}.packet(icmpMessage(128, 0, make([]byte, 56)))), PassProtocol},
	{"neighbor solicitation", ether(typeIPv6, ip6{peer6, our6, protoICMP6}.packet(icmpMessage(135, 0, make([]byte, 24)))), PassProtocol},
	{"a tunnel", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: 4}.packet(tcp4(port(peer4, 5), port(our4, 80))[14:])), PassProtocol},
	{"ICMPv6 in IPv4", ether(typeIPv4, ip4{src: peer4, dst: our4, proto: protoICMP6}.packet(icmpMessage(1, 0, sent4(80)))), PassProtocol},
	{"ICMP in IPv6", ether(typeIPv6, ip6{peer6, our6, protoICMP4}.packet(icmpMessage(3, 0, sent6(80)))), PassProtocol},
	{"broadcast", with(udp4(port(peer4, 5), port(our4, 53)), 0, 0xff), PassGroup},
	{"multicast", with(udp4(port(peer4, 5), port(our4, 53)), 0, 0x01), PassGroup},

	{"to all hosts", toAll(udp4(port(peer4, 5), port(all4, 53))), RedirectListener},
	{"to all hosts, another port", toAll(udp4(port(peer4, 5), port(all4, 54))), PassGroup},
	{"to all hosts, TCP", toAll(tcp4(port(peer4, 5), port(all4, 53))), PassGroup},
	{"to all hosts, sent to one station", udp4(port(peer4, 5), port(all4, 53)), PassUnmatched},
	{"to all hosts of another network", toAll(udp4(port(peer4, 5), port(netip.MustParseAddr("10.1.1.255"), 53))), PassGroup},
	{"to all hosts, in fragments", toAll(ether(typeIPv4, ip4{src: peer4, dst: all4, proto: protoUDP, fragment: 0x2000}.packet(transport(5, 53)))), PassGroup},

	{"group", toAll(udp4(port(peer4, 5), port(group4, 53))), RedirectListener},
	{"group, IPv6", toAll(udp6(port(peer6, 5), port(group6, 53))), RedirectListener},
	{"group, sent to one station", udp4(port(peer4, 5), port(group4, 53)), RedirectListener},
	{"group, IPv6, sent to one station", udp6(port(peer6, 5), port(group6, 53)), RedirectListener},
	{"group, another port", toAll(udp4(port(peer4, 5), port(group4, 54))), PassGroup},
	{"group, TCP", toAll(tcp4(port(peer4, 5), port(group4, 53))), PassGroup},
	{"group, IPv6, TCP", toAll(tcp6(port(peer6, 5), port(group6, 53))), PassGroup},
	{"another group", toAll(udp4(port(peer4, 5), port(netip.MustParseAddr("239.1.2.4"), 53))), PassGroup},
	{"another group, IPv6", toAll(udp6(port(peer6, 5), port(netip.MustParseAddr("ff05::1:3"), 53))), PassGroup},
	{"a flow's address, to all stations", toAll(udp4(port(peer4, 1000), port(our4, 2000))), PassGroup},
	{"IPv6, to all stations", toAll(tcp6(port(peer6, 5), port(our6, 80))), PassGroup},
	{"group, in fragments", toAll(ether(typeIPv4, ip4{src: peer4, dst: group4, proto: protoUDP, fragment: 0x2000}.packet(transport(5, 53)))), PassGroup},
	{"group, don't fragment", toAll(ether(typeIPv4, ip4{src: peer4, dst: group4, proto: protoUDP, fragment: 0x4000}.packet(transport(5, 53)))), RedirectListener},
	{"group, options", toAll(ether(typeIPv4, ip4{src: peer4, dst: group4, proto: protoUDP, options: 1}.packet(transport(5, 53)))), PassGroup},
	{"group, extension header", toAll(ether(typeIPv6, ip6{peer6, group6, extHop}.packet(extensionHeader(protoUDP, 0, 0, transport(5, 53))))), PassGroup},
	{"group, too short", toAll(udp4(port(peer4, 5), port(group4, 53)))[:14+20+3], PassGroup},
	{"group, IPv6, too short", toAll(udp6(port(peer6, 5), port(group6, 53)))[:14+40+3], PassGroup},
	{"group, IPv4 of version 6", with(toAll(udp4(port(peer4, 5), port(group4, 53))), 14, 0x65), PassGroup},
	{"group, IPv6 of version 4", with(toAll(udp6(port(peer6, 5), port(group6, 53))), 14, 0x45), PassGroup},
	{"group, in a VLAN", toAll(ether(typeVLAN, tag(7, typeIPv4, udp4(port(peer4, 5), port(group4, 53))[14:]))), PassGroup},
	{"ARP, to all stations", toAll(ether(typeARP, make([]byte, 28))), PassGroup},
	{"IGMP", toAll(ether(typeIPv4, ip4{src: peer4, dst: group4, proto: 2}.packet(make([]byte, 8)))), PassGroup},

	{"unreachable, of a listener", error4(3, 1, sent4(80)), RedirectError},
	{"needs fragmentation, of a listener", error4(3, 4, sent4(80)), RedirectError},
	{"time exceeded, of a listener", error4(11, 0, sent4(80)), RedirectError},
	{"unreachable, of a flow", error4(3, 1, tcp4(port(our4, 2000), port(peer4, 1000))[14:]), RedirectError},
	{"unreachable, of somebody else", error4(3, 1, sent4(81)), PassUnmatched},
	{"unreachable, of a flow to somebody else", error4(3, 1, tcp4(port(our4, 2000), port(other4, 1000))[14:]), PassUnmatched},
	{"quotes a packet to us", error4(3, 1, tcp4(port(peer4, 5), port(our4, 80))[14:]), PassUnmatched},
	{"redirect", error4(5, 1, sent4(80)), PassProtocol},
	{"parameter problem", error4(12, 0, sent4(80)), PassProtocol},
	{"quotes options", error4(3, 1, ip4{src: our4, dst: peer4, proto: protoTCP, options: 3}.packet(transport(80, 5))), RedirectError},
	{"quotes 8 bytes", error4(3, 1, sent4(80)[:28]), RedirectError},
	{"quotes 4 bytes", error4(3, 1, sent4(80)[:24]), RedirectError},
	{"quotes 3 bytes", error4(3, 1, sent4(80)[:23]), PassMalformed},
	{"quotes a fragment", error4(3, 1, ip4{src: our4, dst: peer4, proto: protoTCP, fragment: 0x2000}.packet(transport(80, 5))), PassFragment},
	{"quotes a ping", error4(3, 1, ip4{src: our4, dst: peer4, proto: protoICMP4}.packet(icmpMessage(8, 0, nil))), PassProtocol},
	{"quotes an error", error4(3, 1, error4(3, 1, sent4(80))[14:]), PassProtocol},
	{"quotes IPv6", error4(3, 1, sent6(80)), PassMalformed},
	{"error behind options", ether(typeIPv4, ip4{src: other4, dst: our4, proto: protoICMP4, options: 2}.packet(icmpMessage(3, 1, sent4(80)))), RedirectError},
	{"error with a priority", ether(typeVLAN, tag(0x2000, typeIPv4, error4(3, 1, sent4(80))[14:])), RedirectError},
	{"a fragment of an error", ether(typeIPv4, ip4{src: other4, dst: our4, proto: protoICMP4, fragment: 0x2000}.packet(icmpMessage(3, 1, sent4(80)))), PassFragment},

	{"unreachable, IPv6", error6(1, 0, sent6(80)), RedirectError},
	{"too big, IPv6", error6(2, 0, sent6(80)), RedirectError},
	{"time exceeded, IPv6", error6(3, 0, sent6(80)), RedirectError},
	{"parameter problem, IPv6", error6(4, 0, sent6(80)), PassProtocol},
	{"type 0, IPv6", error6(0, 0, sent6(80)), PassProtocol},
	{"unreachable, of a flow, IPv6", error6(1, 0, tcp6(port(our6, 2000), port(peer6, 1000))[14:]), RedirectError},
	{"unreachable, of a UDP flow, IPv6", error6(1, 4, udp6(port(our6, 2000), port(peer6, 1000))[14:]), RedirectError},
	{"unreachable, of somebody else, IPv6", error6(1, 0, sent6(81)), PassUnmatched},
	{"quotes extension headers", error6(1, 0, ip6{our6, peer6, extHop}.packet(chain(8, extHop, protoTCP, transport(80, 5)))), RedirectError},
	{"quotes an error, IPv6", error6(1, 0, error6(1, 0, sent6(80))[14:]), PassProtocol},
	{"error behind extension headers", ext(extHop, chain(8, extHop, protoICMP6, icmpMessage(2, 0, sent6(80)))), RedirectError},
}

// toAll is a frame with a group of stations for its destination.
func toAll(frame []byte) []byte { return with(frame, 0, 1) }

// ext is a frame from the peer to us whose IPv6 header says that next follows.
func ext(next uint8, payload []byte) []byte {
	return ether(typeIPv6, ip6{peer6, our6, next}.packet(payload))
}

// sent4 is a TCP packet from a port of ours.
func sent4(from uint16) []byte { return tcp4(port(our4, from), port(peer4, 5))[14:] }
func sent6(from uint16) []byte { return tcp6(port(our6, from), port(peer6, 5))[14:] }

// error4 is an ICMP message from a router.
func error4(kind, code uint8, quote []byte) []byte {
	return ether(typeIPv4, ip4{src: other4, dst: our4, proto: protoICMP4}.packet(icmpMessage(kind, code, quote)))
}

func error6(kind, code uint8, quote []byte) []byte {
	return ether(typeIPv6, ip6{other6, our6, protoICMP6}.packet(icmpMessage(kind, code, quote)))
}

// TestNSVerdict: each frame gets its verdict, by the program and by the reference
// matcher, with and without a socket.
func TestNSVerdict(t *testing.T) {
	b := newBench(t)
	seen := make(map[Verdict]bool)
	check := func(t *testing.T) {
		for _, c := range cases {
			want := c.want
			if want.Redirected() && !b.rules.socket {
				want = PassNoSocket
			}
			seen[want] = true
			if got := b.rules.verdict(c.frame); got != want {
				t.Errorf("%s: the reference says %v, want %v", c.name, got, want)
			}
			for name, p := range b.programs() {
				if got := b.verdict(t, p, c.frame); got != want {
					t.Errorf("%s, %s: %v, want %v", c.name, name, got, want)
				}
			}
		}
	}
	t.Run("no socket", check)
	b.withSocket(t)
	t.Run("socket", check)
	must(t, b.ClearSocket(0), b.ClearSocket(0))
	b.rules.socket = false
	t.Run("socket removed", check)
	for v := range Verdicts {
		if !seen[Verdict(v)] {
			t.Errorf("no frame has the verdict %v", Verdict(v))
		}
	}
}

// TestNSTruncated cuts each frame off at every length that the kernel runs.
func TestNSTruncated(t *testing.T) {
	b := newBench(t)
	b.withSocket(t)
	for _, c := range cases {
		for n := 14; n < len(c.frame); n++ {
			cut := c.frame[:n:n]
			want := actionOf(b.rules.verdict(cut))
			for name, p := range b.programs() {
				if got := action(t, p, cut); got != want {
					t.Fatalf("%s, %s, cut off at %d of %d: action %d, want %d", c.name, name, n, len(c.frame), got, want)
				}
			}
		}
	}
}

// TestNSSplit: a frame that is spread over buffers is found out all the same,
// wherever the first buffer ends.
func TestNSSplit(t *testing.T) {
	b := newBench(t)
	needSplit(t)
	b.withSocket(t)
	for _, c := range cases {
		// More than fits one buffer of the test run, which has its own minimum.
		frame := append(bytes.Clone(c.frame), make([]byte, 9000-len(c.frame))...)
		want := actionOf(b.rules.verdict(frame))
		if got := action(t, b.prog, frame); got != want {
			t.Fatalf("%s, in several buffers: action %d, want %d", c.name, got, want)
		}
		for n := 14; n < 128; n++ {
			got, err := runSplit(b.prog, frame, n)
			must(t, err)
			if got != want {
				t.Fatalf("%s, split at %d: action %d, want %d", c.name, n, got, want)
			}
		}
	}
}
