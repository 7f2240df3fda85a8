package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// fragmentsOf cuts the IP packet b into fragments of at most size bytes of payload,
// a multiple of 8, as a router does (RFC 791 section 3.2) or an IPv6 host (RFC 8200
// section 4.5).
func fragmentsOf(t testing.TB, b []byte, id uint32, size int) (out [][]byte) {
	t.Helper()
	var p wire.Packet
	if c := wire.ParseIP(b, len(b), wire.Verify, &p); c != wire.OK {
		t.Fatal(c)
	}
	payload := b[p.L4Offset:]
	for off := 0; off < len(payload); off += size {
		part := payload[off:min(off+size, len(payload))]
		more := off+size < len(payload)
		field := uint16(off)
		head := bytes.Clone(b[:p.L4Offset])
		if p.Version == 4 {
			if field /= 8; more {
				field |= 0x2000
			}
			binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(part)))
			binary.BigEndian.PutUint16(head[4:], uint16(id))
			binary.BigEndian.PutUint16(head[6:], field)
			fixIPv4(head)
		} else {
			if more {
				field |= 1
			}
			ext := []byte{head[6], 0, byte(field >> 8), byte(field)}
			head[6] = 44
			head = append(head, binary.BigEndian.AppendUint32(ext, id)...)
			binary.BigEndian.PutUint16(head[4:], uint16(8+len(part)))
		}
		out = append(out, append(head, part...))
	}
	return out
}

// A datagram in fragments reaches its socket where the driver put them, in any order
// and layout.
func TestFragmentedDatagram(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
		u, err := r.stack.ListenPacket("udp", dst, netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		want := pattern(1, 5000)
		id := uint32(1)
		for _, l := range []layout{whole, {0, []int{60, 4096}}, {7, []int{30, 700}}, {28, []int{4096}}, {100, []int{1000}}, {4096, nil}} {
			for _, reverse := range []bool{false, true} {
				id++
				parts := fragmentsOf(t, udpPacket(t, src, dst, want), id, 1448)
				for i := range parts {
					k := i
					if reverse {
						k = len(parts) - 1 - i
					}
					// Padding does no harm.
					if out := r.deliver(append(bytes.Clone(parts[k]), 1, 2, 3), l); len(out) != 0 {
						t.Fatalf("fragment %d was answered", k)
					}
				}
				m, payload, copied := r.recv(u)
				if m.Src != src || m.Dst != dst || !bytes.Equal(payload, want) {
					t.Fatalf("%+v, reverse %v: %+v", l, reverse, m)
				}
				if l.head == 0 && copied != 0 {
					t.Errorf("%+v: %d bytes were copied", l, copied)
				}
				r.wantFree()
			}
		}
		if n := r.stack.Stats().Reassembled; n != uint64(id-1) {
			t.Errorf("%d reassembled, want %d", n, id-1)
		}
		r.wantDrops(nil)
		r.closeSocket(u)
	}
}

// What is put together is judged as what comes whole: checksums, ports, and whether
// anybody is there.
func TestFragmentsOfOthers(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		deliver := func(parts [][]byte) (out [][]byte) {
			for _, b := range parts {
				out = append(out, r.deliver(b, whole)...)
			}
			return out
		}
		src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
		// Nobody is there: told once, about a packet that did come whole.
		out := deliver(fragmentsOf(t, udpPacket(t, src, dst, pattern(1, 1000)), 1, 512))
		if len(out) != 1 {
			t.Fatalf("%d answers", len(out))
		}
		if p := parse(t, out[0]); p.icmp.Kind != wire.ICMPUnreachable || p.icmp.Quote.Flow != (wire.Tuple{Local: src, Remote: dst, Proto: wire.ProtoUDP}) {
			t.Errorf("%+v", p.icmp)
		}
		broken := udpPacket(t, src, dst, pattern(1, 1000))
		broken[len(broken)-1] ^= 1
		if out := deliver(fragmentsOf(t, broken, 2, 512)); len(out) != 0 {
			t.Error("a broken one was answered")
		}
		// A ping.
		out = deliver(fragmentsOf(t, pingPacket(t, a, pattern(3, 1200)), 3, 800))
		if len(out) != 1 || !bytes.Equal(parse(t, out[0]).payload, pattern(3, 1200)) {
			t.Errorf("%d answers to a ping", len(out))
		}
		// To another host, and from where none is: not even kept.
		stranger := netip.MustParseAddr("192.0.2.77")
		if a.us.Is6() {
			stranger = netip.MustParseAddr("2001:db8::77")
		}
		deliver(fragmentsOf(t, udpPacket(t, src, netip.AddrPortFrom(stranger, 53), pattern(1, 1000)), 4, 512)[:1])
		deliver(fragmentsOf(t, udpPacket(t, dst, dst, pattern(1, 1000)), 4, 512)[:1])
		// For nobody's protocol, of which IPv6 says nothing but in the first one: kept till that comes.
		foreign, drops := udpPacket(t, src, dst, pattern(1, 1000)), uint64(2)
		if a.us.Is4() {
			foreign[9] = 253
			fixIPv4(foreign)
		} else {
			foreign[6] = 253
			drops = 1
		}
		parts := fragmentsOf(t, foreign, 5, 512)
		deliver([][]byte{parts[1], parts[0]})
		r.wantFree()
		want := map[string]uint64{"no-socket": 1, "bad-checksum": 1, "not-ours": 1, "martian": 1, "unknown-protocol": drops}
		if a.us.Is6() {
			want["fragment-of-refused"] = 1
		}
		r.wantDrops(want)
	}
}

// What is fragmented may begin with extension headers (RFC 8200 section 4.5): those that can stand
// there, and all of them in the first fragment. That condemns what came before it and what comes after.
func TestFragmentedHeaders(t *testing.T) {
	a := pairs[1]
	src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
	options := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	for _, tt := range []struct {
		name  string
		next  byte
		chain []byte
		first int // payload bytes of the first fragment
		drops map[string]uint64
	}{
		{"options", 60, options(17), 512, nil},
		{"options and routing that has ended", 60, append(options(43), 17, 0, 4, 0, 0, 0, 0, 0), 512, nil},
		{"just enough", 60, options(17), 16, nil},
		{"no UDP header", 60, options(17), 8, map[string]uint64{"fragment-tiny": 3}},
		{"half of the options", 60, append([]byte{17, 1, 1, 12}, make([]byte, 12)...), 8, map[string]uint64{"fragment-tiny": 3}},
		{"hop-by-hop options", 0, options(17), 512, map[string]uint64{"bad-extension": 1, "fragment-of-refused": 2}},
		{"a fragment of a fragment", 60, append(options(44), 17, 0, 0, 1, 0, 0, 0, 9), 512, map[string]uint64{"bad-extension": 1, "fragment-of-refused": 2}},
		{"options that condemn it", 60, []byte{17, 0, 0x85, 4, 0, 0, 0, 0}, 512, map[string]uint64{"refused-option": 1, "fragment-of-refused": 2}},
		{"nobody's protocol", 60, options(253), 512, map[string]uint64{"unknown-protocol": 1, "fragment-of-refused": 2}},
	} {
		for i, l := range []layout{whole, {40, []int{4096}}, {0, []int{50, 4096}}} {
			r := newRig(t)
			u, err := r.stack.ListenPacket("udp", dst, netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			b := udpPacket(t, src, dst, pattern(1, 1000))
			body := append(bytes.Clone(tt.chain), b[wire.IPv6HeaderLen:]...)
			cuts := [][2]int{{0, tt.first}, {tt.first, 800}, {800, len(body)}}
			cuts[0], cuts[i] = cuts[i], cuts[0] // the first is not always the first
			for _, cut := range cuts {
				field := uint16(cut[0])
				if cut[1] < len(body) {
					field |= 1
				}
				f := append(bytes.Clone(b[:wire.IPv6HeaderLen]), tt.next, 0, byte(field>>8), byte(field), 0, 0, 0, 7)
				f = append(f, body[cut[0]:cut[1]]...)
				f[6] = 44
				binary.BigEndian.PutUint16(f[4:], uint16(len(f)-wire.IPv6HeaderLen))
				if out := r.deliver(f, l); len(out) != 0 {
					t.Errorf("%s: it was answered", tt.name)
				}
			}
			if tt.drops == nil {
				if m, payload, _ := r.recv(u); m.Src != src || !bytes.Equal(payload, pattern(1, 1000)) {
					t.Errorf("%s: %+v", tt.name, m)
				}
			} else if u.Queue.Len() != 0 {
				t.Errorf("%s: it was taken", tt.name)
			}
			r.wantDrops(tt.drops)
			r.closeSocket(u)
			r.wantFree()
			r.stack.DropFragments() // and nothing is left of what was condemned
			r.wantFree()
		}
	}
}

// A TCP segment in fragments, which a router made of it, is a segment.
func TestFragmentedSegment(t *testing.T) {
	r := newRig(t)
	a := pairs[0]
	var conn *tcp.Conn
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(a.us, 80), func() bool { return false }, func(c *tcp.Conn) { conn = c })
	if err != nil {
		t.Fatal(err)
	}
	h := wire.TCP{SrcPort: 999, DstPort: 80, Seq: 100, Flags: wire.SYN, Window: 65535, Options: wire.TCPOptions{MSS: 1460}}
	synAck := parse(t, r.deliver(tcpPacket(t, a.peer, a.us, h, nil), whole)[0])
	h.Seq, h.Ack, h.Flags, h.Options = 101, synAck.tcp.Seq.Add(1), wire.ACK, wire.TCPOptions{}
	r.deliver(tcpPacket(t, a.peer, a.us, h, nil), whole)
	parts := fragmentsOf(t, tcpPacket(t, a.peer, a.us, h, pattern(1, 1400)), 5, 512)
	r.deliver(parts[1], whole)
	r.deliver(parts[0], whole)
	if n := conn.Recv.Buffered(); n != 0 {
		t.Fatalf("%d bytes are there before the last fragment", n)
	}
	r.deliver(parts[2], whole)
	if n := conn.Recv.Buffered(); n != 1400 {
		t.Fatalf("%d bytes are there", n)
	}
	conn.Recv.Close()
	conn.Abort(r.now)
	conn.Recv.Drain()
	r.deliverFrame()
	l.Close()
	r.wantFree()
}

// Answers to strangers have one limit, whatever they answer.
func TestFragmentsExpireInSilence(t *testing.T) {
	r := newRig(t)
	src, dst := netip.AddrPortFrom(peer4, 999), netip.AddrPortFrom(us4.Addr(), 53)
	r.deliver(fragmentsOf(t, udpPacket(t, src, dst, pattern(1, 1000)), 9, 512)[0], whole)
	r.now = r.stack.Next()
	for r.stack.unreachables.take(r.now) {
	}
	r.stack.Advance(r.now)
	if out := r.deliverFrame(); len(out) != 0 || r.stack.Stats().UnreachablesSuppressed != 1 {
		t.Errorf("%d answers beyond the limit, %d suppressed", len(out), r.stack.Stats().UnreachablesSuppressed)
	}
	r.wantDrops(map[string]uint64{"fragment-expired": 1})
	r.wantFree()
}

// Who sent the beginning of a packet whose rest never comes is told, if asked so
// rarely that it is no amplifier; who did not is not.
func TestFragmentsExpire(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
		parts := fragmentsOf(t, udpPacket(t, src, dst, pattern(1, 1000)), 9, 512)
		r.deliver(parts[0], whole)
		next := r.stack.Next()
		if next == 0 || r.stack.Stats().FragmentsNow != 1 {
			t.Fatal("nothing waits")
		}
		r.deliver(fragmentsOf(t, udpPacket(t, src, dst, pattern(1, 1000)), 10, 512)[1], whole)
		r.wire.sent = nil
		r.now = next.Add(time.Second)
		r.stack.Advance(r.now)
		out := r.deliverFrame()
		r.stack.Advance(r.now)
		out = append(out, r.deliverFrame()...)
		if len(out) != 1 {
			t.Fatalf("%d answers", len(out))
		}
		var p wire.Packet
		if c := wire.ParseIP(out[0], len(out[0]), wire.Verify, &p); c != wire.OK || p.VerifyL4(out[0]) != wire.OK || p.Dst != a.peer {
			t.Fatalf("%v, %+v", c, p)
		}
		kind, quote := out[0][p.L4Offset], out[0][p.L4Offset+8:]
		if want := map[uint8]byte{4: 11, 6: 3}[p.Version]; kind != want || out[0][p.L4Offset+1] != 1 || !bytes.HasPrefix(parts[0], quote) || len(quote) < 20+8 {
			t.Errorf("type %d, quote %x", kind, quote)
		}
		if r.stack.Next() != 0 {
			t.Error("something still waits")
		}
		r.wantDrops(map[string]uint64{"fragment-expired": 2})
		r.wantFree()
	}
}

// Overlapping fragments and floods of first fragments, from many sources, take a
// bounded number of buffers, which come back, and a stream of datagrams beside them
// loses none.
func TestFragmentAttack(t *testing.T) {
	const buffers = rigBuffers
	r := newRig(t)
	a := pairs[0]
	src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
	u, err := r.stack.ListenPacket("udp", dst, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		attacker := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 7), byte(i)}), 9)
		parts := fragmentsOf(t, udpPacket(t, attacker, dst, pattern(2, 1400)), uint32(i), 256)
		r.deliver(parts[0], whole)
		if i%3 == 0 { // an overlap, whose bytes differ
			evil := bytes.Clone(parts[1])
			binary.BigEndian.PutUint16(evil[6:], 0x2000|16)
			fixIPv4(evil)
			r.deliver(evil, whole)
		}
		for _, b := range fragmentsOf(t, udpPacket(t, src, dst, pattern(i, 3000)), uint32(i), 1480) {
			r.deliver(b, whole)
		}
		if _, payload, _ := r.recv(u); !bytes.Equal(payload, pattern(i, 3000)) {
			t.Fatalf("datagram %d is wrong", i)
		}
		if st := r.stack.Stats(); st.FragmentsNow > buffers/5 {
			t.Fatalf("%d buffers are kept", st.FragmentsNow)
		}
	}
	if d := r.drops(); d["fragment-overlap"] < 2000 || d["fragment-evicted"] < 2000 {
		t.Errorf("drops: %v", d)
	}
	r.now = r.now.Add(time.Minute)
	r.stack.Advance(r.now)
	r.deliverFrame()
	r.wantFree()
	r.closeSocket(u)
}

// DropFragments lets go of what waits, for the end.
func TestDropFragments(t *testing.T) {
	r := newRig(t)
	a := pairs[1]
	r.deliver(fragmentsOf(t, pingPacket(t, a, pattern(1, 900)), 1, 256)[0], whole)
	if r.stack.Stats().FragmentsNow == 0 {
		t.Fatal("nothing waits")
	}
	r.stack.DropFragments()
	r.wantFree()
	if r.stack.Next() != 0 {
		t.Error("a time-out is left")
	}
}
