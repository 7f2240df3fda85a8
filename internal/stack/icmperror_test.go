package stack

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// icmpPacket is an ICMP error of the type and code, from one address to another, with
// rest in its header's last 4 bytes, that quotes about.
func icmpPacket(t testing.TB, src, dst netip.Addr, typ, code uint8, rest uint32, about []byte) []byte {
	t.Helper()
	l4 := append([]byte{typ, code, 0, 0, byte(rest >> 24), byte(rest >> 16), byte(rest >> 8), byte(rest)}, about...)
	proto := uint8(wire.ProtoICMP)
	if src.Is6() {
		proto = wire.ProtoICMPv6
	}
	return packetOf(t, src, dst, proto, l4)
}

// portUnreachable is the one that p's peer would send about a packet of ours.
func portUnreachable(t testing.TB, p pair, about []byte) []byte {
	if p.us.Is6() {
		return icmpPacket(t, p.peer, p.us, 1, 4, 0, about)
	}
	return icmpPacket(t, p.peer, p.us, 3, 3, 0, about)
}

// An error reaches the connected socket whose datagram it quotes, however the frame
// lies in memory, once; and no other socket, and nobody if it is not ours.
func TestICMPErrorOfDatagram(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		remote := netip.AddrPortFrom(a.peer, 53)
		u, err := r.stack.ListenPacket("udp", netip.AddrPort{}, remote)
		if err != nil {
			t.Fatal(err)
		}
		other, err := r.stack.ListenPacket("udp", netip.AddrPort{}, netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		sent := udpPacket(t, u.Local, remote, pattern(1, 40))
		e := portUnreachable(t, a, sent)
		for _, l := range layouts(len(e)) {
			if out := r.deliver(e, l); len(out) != 0 {
				t.Fatalf("%+v: an error was answered", l)
			}
			if err := u.Queue.Failure(); err != syscall.ECONNREFUSED {
				t.Fatalf("%+v: the socket was told %v", l, err)
			}
			if err := u.Queue.Failure(); err != nil {
				t.Fatalf("%+v: it was told twice", l)
			}
		}
		n := r.stack.Stats().ICMPErrors

		// About other flows, another address of ours, with a wrong checksum, too
		// short a quote, and from and to whom none can come.
		broken := bytes.Clone(e)
		broken[len(broken)-1] ^= 1
		elsewhere := pair{a.us, netip.MustParseAddr("192.0.2.9")}
		if a.us.Is6() {
			elsewhere.peer = netip.MustParseAddr("2001:db8::9")
		}
		for _, tt := range []struct {
			frame []byte
			cause string
		}{
			{portUnreachable(t, a, udpPacket(t, netip.AddrPortFrom(a.us, 1), remote, nil)), "icmp-no-flow"},
			{portUnreachable(t, a, udpPacket(t, netip.AddrPortFrom(a.us, other.Local.Port()), remote, nil)), "icmp-no-flow"},
			{portUnreachable(t, a, udpPacket(t, u.Local, netip.AddrPortFrom(a.peer, 54), nil)), "icmp-no-flow"},
			{portUnreachable(t, a, udpPacket(t, netip.AddrPortFrom(elsewhere.peer, u.Local.Port()), remote, nil)), "bad-quote"},
			{portUnreachable(t, a, sent[:len(sent)-41]), "bad-quote"},
			{portUnreachable(t, pair{a.us, a.us}, sent), "martian"},
			{portUnreachable(t, elsewhere, nil), "bad-quote"},
			{broken, "bad-checksum"},
		} {
			before := r.drops()[tt.cause]
			if out := r.deliver(tt.frame, whole); len(out) != 0 {
				t.Errorf("%s was answered", tt.cause)
			}
			if got := r.drops()[tt.cause]; got != before+1 {
				t.Errorf("drops: %v, want one more for %q than %d", r.drops(), tt.cause, before)
			}
		}
		if err := u.Queue.Failure(); err != nil || other.Queue.Failure() != nil || r.stack.Stats().ICMPErrors != n {
			t.Errorf("a socket was told %v; %d errors counted, were %d", err, r.stack.Stats().ICMPErrors, n)
		}
		// A router may send it, of whom we know nothing; and the next send tells it.
		r.deliver(portUnreachable(t, elsewhere, sent), whole)
		if err := r.stack.CheckDatagram(r.clock, u, netip.AddrPort{}, 1); err != syscall.ECONNREFUSED {
			t.Errorf("the next send: %v", err)
		}
		if err := r.stack.CheckDatagram(r.clock, u, netip.AddrPort{}, 1); err != nil {
			t.Errorf("the send after it: %v", err)
		}
		r.closeSocket(u)
		r.closeSocket(other)
		r.wantFree()
	}
}

// A connected socket is told that its datagrams are too long for the path: nothing
// sends them in fragments for it.
func TestICMPTooBigForDatagram(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		u, err := r.stack.ListenPacket("udp", netip.AddrPort{}, netip.AddrPortFrom(a.peer, 53))
		if err != nil {
			t.Fatal(err)
		}
		sent := udpPacket(t, u.Local, u.Remote, pattern(1, 400))
		typ, code := uint8(3), uint8(4)
		if a.us.Is6() {
			typ, code = 2, 0
		}
		r.deliver(icmpPacket(t, a.peer, a.us, typ, code, 1300, sent), whole)
		if err := r.stack.CheckDatagram(r.clock, u, netip.AddrPort{}, 400); err != syscall.EMSGSIZE {
			t.Errorf("the next send: %v", err)
		}
		// What may go away by itself is not told.
		typ, code = 3, 1
		if a.us.Is6() {
			typ, code = 1, 3
		}
		r.deliver(icmpPacket(t, a.peer, a.us, typ, code, 0, sent), whole)
		if err := u.Queue.Failure(); err != nil {
			t.Errorf("told %v", err)
		}
		r.wantDrops(map[string]uint64{"icmp-ignored": 1})
		r.closeSocket(u)
	}
}

// The whole way for TCP: a dial that is refused by a router, and a stale error.
func TestICMPErrorOfSegment(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		var outcome []error
		dial := func() *tcp.Conn {
			c, err := r.stack.Dial(r.now, "tcp", netip.AddrPort{}, netip.AddrPortFrom(a.peer, 80))
			if err != nil {
				t.Fatal(err)
			}
			c.OnConnect = func(err error) { outcome = append(outcome, err) }
			return c
		}
		dial()
		syn := bytes.Clone(r.deliverFrame()[0])
		stale := bytes.Clone(syn)
		seq := wire.IPv4HeaderLen + 4
		if a.us.Is6() {
			seq = wire.IPv6HeaderLen + 4
		}
		stale[seq+3]++
		r.deliver(portUnreachable(t, a, stale), whole)
		if len(outcome) != 0 {
			t.Fatalf("an error about another segment ended the dial: %v", outcome)
		}
		// What a router quotes at least is enough.
		r.deliver(portUnreachable(t, a, syn[:seq+4]), whole)
		if len(outcome) != 1 || outcome[0] != syscall.ECONNREFUSED {
			t.Fatalf("the dial ended with %v", outcome)
		}
		if n := r.stack.Stats().Conns; n != 0 {
			t.Errorf("%d connections left", n)
		}
		r.wantDrops(map[string]uint64{"icmp-stale": 1})
	}
}

// Nothing is ever sent in answer to what may be an answer itself, or to what was sent
// to many, or comes from nobody (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e, RFC
// 9293 section 3.10.7.1).
func TestNothingIsAnswered(t *testing.T) {
	r := newRig(t)
	all4, group4 := netip.MustParseAddr("192.0.2.255"), netip.MustParseAddr("224.0.0.1")
	all, any4 := netip.MustParseAddr("255.255.255.255"), netip.IPv4Unspecified()
	group6 := netip.MustParseAddr("ff02::1")
	us, peer := us4.Addr(), peer4
	dgram := func(src, dst netip.Addr) []byte {
		return udpPacket(t, netip.AddrPortFrom(src, 9), netip.AddrPortFrom(dst, 53), pattern(1, 50))
	}
	syn := func(src, dst netip.Addr, flags wire.Flags) []byte {
		return tcpPacket(t, src, dst, wire.TCP{SrcPort: 9, DstPort: 80, Flags: flags}, nil)
	}
	second := dgram(peer, us)
	second[6], second[7] = 0, 1 // offset 8
	second[10], second[11] = 0, 0
	var sum wire.Sum
	sum.Add(second[:20])
	c := sum.Checksum()
	second[10], second[11] = byte(c>>8), byte(c)
	for name, b := range map[string][]byte{
		"datagram to a network":       dgram(peer, all4),
		"datagram to all":             dgram(peer, all),
		"datagram to a group":         dgram(peer, group4),
		"datagram to a group, IPv6":   dgram(peer6, group6),
		"datagram from a network":     dgram(all4, us),
		"datagram from nobody":        dgram(any4, us),
		"datagram from nobody, IPv6":  dgram(netip.IPv6Unspecified(), us6.Addr()),
		"datagram from ourselves":     dgram(us, us),
		"second fragment":             second,
		"SYN to a network":            syn(peer, all4, wire.SYN),
		"SYN to a group":              syn(peer, group4, wire.SYN),
		"SYN from a network":          syn(all4, us, wire.SYN),
		"SYN from ourselves":          syn(us, us, wire.SYN),
		"SYN to a group, IPv6":        syn(peer6, group6, wire.SYN),
		"reset":                       syn(peer, us, wire.RST),
		"reset with ACK":              syn(peer, us, wire.RST|wire.ACK),
		"ping to a network":           pingPacket(t, pair{all4, peer}, nil),
		"ping to a group":             pingPacket(t, pair{group4, peer}, nil),
		"ping to a group, IPv6":       pingPacket(t, pair{group6, peer6}, nil),
		"ping from a network":         pingPacket(t, pair{us, all4}, nil),
		"error about a datagram":      portUnreachable(t, pairs[0], dgram(us, peer)),
		"error about an error":        portUnreachable(t, pairs[0], portUnreachable(t, pair{peer, us}, dgram(peer, us))),
		"error about a segment, IPv6": portUnreachable(t, pairs[1], syn(us6.Addr(), peer6, wire.SYN)),
		"error about nothing":         portUnreachable(t, pairs[0], nil),
	} {
		if out := r.deliver(b, whole); len(out) != 0 {
			t.Errorf("%s: %d answers", name, len(out))
		}
	}
	if st := r.stack.Stats(); st.Echoes+st.Unreachables+st.TCP.ResetsSent != 0 {
		t.Errorf("answers counted: %+v", st)
	}
	r.stack.DropFragments()
	r.wantFree()
}

// Errors for a socket come to who waits for datagrams, before those.
func TestFailureBeforeDatagrams(t *testing.T) {
	r := newRig(t)
	a := pairs[0]
	remote := netip.AddrPortFrom(a.peer, 53)
	u, err := r.stack.ListenPacket("udp", netip.AddrPort{}, remote)
	if err != nil {
		t.Fatal(err)
	}
	r.deliver(udpPacket(t, remote, u.Local, pattern(1, 10)), whole)
	r.deliver(portUnreachable(t, a, udpPacket(t, u.Local, remote, nil)), whole)
	var iovs [2]buf.Iov
	var msgs [1]sockq.Message
	if n, _, more, err := u.Queue.Poll(iovs[:], msgs[:]); n != 0 || !more || err != syscall.ECONNREFUSED {
		t.Errorf("%d datagrams, more %v, %v", n, more, err)
	}
	if m, payload, _ := r.recv(u); m.Len != 10 || !bytes.Equal(payload, pattern(1, 10)) {
		t.Errorf("then %+v", m)
	}
	r.closeSocket(u)
}

// Source quench means nothing any more, and is dropped without a word (RFC 6633; RFC 9293
// MUST-55).
func TestSourceQuench(t *testing.T) {
	r := newRig(t)
	remote := netip.AddrPortFrom(peer4, 53)
	u := mustListen(t, r.stack, "udp", netip.AddrPort{}, remote)
	defer r.closeSocket(u)
	if out := r.deliver(icmpPacket(t, peer4, us4.Addr(), 4, 0, 0, udpPacket(t, u.Local, remote, pattern(1, 40))), whole); len(out) != 0 {
		t.Errorf("%d answers", len(out))
	}
	if err := u.Queue.Failure(); err != nil {
		t.Error(err)
	}
	r.wantDrops(map[string]uint64{"icmp-ignored": 1})
}

// What a router says of a path holds for all sockets, for ten minutes: the application is told
// how much does fit. What no path carries is not believed.
func TestPathMTUOfDatagrams(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		headers, typ, code, least := 28, uint8(3), uint8(4), 552
		if a.us.Is6() {
			headers, typ, code, least = 48, 2, 0, 1280
		}
		remote := netip.AddrPortFrom(a.peer, 53)
		u := mustListen(t, r.stack, "udp", netip.AddrPort{}, remote)
		other := mustListen(t, r.stack, "udp", netip.AddrPort{}, netip.AddrPort{})
		sent := udpPacket(t, u.Local, remote, pattern(1, 400))
		tooBig := func(mtu int) {
			t.Helper()
			r.deliver(icmpPacket(t, a.peer, a.us, typ, code, uint32(mtu), sent), whole)
			_ = u.Queue.Failure()
		}
		most := func() int {
			t.Helper()
			n := 1500 - headers
			for ; n > 0; n-- {
				if err := r.stack.CheckDatagram(r.clock, other, remote, n); err == nil {
					break
				} else if !errors.Is(err, syscall.EMSGSIZE) {
					t.Fatal(err)
				}
			}
			return n
		}
		elsewhere := netip.AddrPortFrom(a.peer.Next(), 53)
		tooBig(1400)
		if got := most(); got != 1400-headers {
			t.Errorf("%v: %d bytes, want %d", a.peer, got, 1400-headers)
		}
		if err := r.stack.CheckDatagram(r.clock, other, elsewhere, 1500-headers); err != nil {
			t.Errorf("another host: %v", err)
		}
		tooBig(1450) // an older one, of a path that was wider
		if got := most(); got != 1400-headers {
			t.Errorf("%v: %d bytes after a wider path", a.peer, got)
		}
		tooBig(100)
		want := least - headers
		if a.us.Is6() {
			want = 1400 - headers // ignored
		}
		if got := most(); got != want {
			t.Errorf("%v: %d bytes, want %d", a.peer, got, want)
		}
		r.now = r.now.Add(11 * time.Minute)
		if got := most(); got != 1500-headers {
			t.Errorf("%v: %d bytes later, want %d", a.peer, got, 1500-headers)
		}
		if !a.us.Is6() {
			tooBig(0) // an old router, which does not say
			if got := most(); got != 1064-headers {
				t.Errorf("%d bytes, want %d", got, 1064-headers)
			}
		}
		r.closeSocket(u)
		r.closeSocket(other)
	}
}
