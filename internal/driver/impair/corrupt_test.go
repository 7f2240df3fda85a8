package impair

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/wire"
)

// partial makes the checksum of a frame what a sender leaves for a device to
// complete: it holds the pseudo-header's sum only.
func partial(b []byte) []byte {
	b = bytes.Clone(b)
	var p wire.Packet
	if c := wire.ParseIP(b, len(b), wire.Verify, &p); c != wire.OK {
		panic(fmt.Sprint("cause ", c))
	}
	if err := wire.FillPartialChecksum(b[p.L4Offset:], p.Proto, p.PseudoSum()); err != nil {
		panic(err)
	}
	return b
}

// echo is an ICMP or ICMPv6 echo request.
func echo(v6 bool) []byte {
	if v6 {
		return packet(src6, dst6, wire.ProtoICMPv6, []byte{128, 0, 0, 0, 0, 1, 0, 2, 'p', 'i', 'n', 'g'})
	}
	return packet(src4, dst4, wire.ProtoICMP, []byte{8, 0, 0, 0, 0, 1, 0, 2, 'p', 'i', 'n', 'g'})
}

// A span is the bytes [from, to) of a packet.
type span struct{ from, to int }

// TestCorrupt flips every bit that can be chosen, of frames of all kinds and
// laid out in both ways. Always exactly one bit is other than in the frame with
// its checksum, and always the frame fails verification.
func TestCorrupt(t *testing.T) {
	noSum := udpFrame(src4, dst4, pattern(1, 23))
	binary.BigEndian.PutUint16(noSum[26:], 0)
	padded := append(udpFrame(src4, dst4, pattern(2, 5)), make([]byte, 13)...)
	udp4, udp6 := udpFrame(src4, dst4, pattern(3, 33)), udpFrame(src6, dst6, pattern(4, 34))
	udpHole := func(ip int) span { return span{ip + 4, ip + 8} }
	tcp4, tcp6 := tcpFrame(src4, dst4, pattern(5, 35)), tcpFrame(src6, dst6, pattern(6, 36))
	for _, tt := range []struct {
		name   string
		sent   []byte
		whole  []byte // with its checksum, if that is not sent
		plain  bool   // the sender's device vouches for nothing
		exempt []span // bytes of which no bit may be flipped
	}{
		{"TCP", tcp4, nil, true, []span{{0, 1}}},
		{"TCP, vouched for", tcp4, nil, false, []span{{0, 1}}},
		{"TCP, partial checksum", partial(tcp4), tcp4, false, []span{{0, 1}}},
		{"TCP over IPv6", tcp6, nil, true, []span{{0, 40}}},
		{"TCP over IPv6, partial checksum", partial(tcp6), tcp6, false, []span{{0, 40}}},
		{"UDP", udp4, nil, true, []span{{0, 1}, udpHole(20)}},
		{"UDP, partial checksum", partial(udp4), udp4, false, []span{{0, 1}, udpHole(20)}},
		{"UDP without checksum", noSum, udpFrame(src4, dst4, pattern(1, 23)), true, []span{{0, 1}, udpHole(20)}},
		{"UDP without checksum, vouched for", noSum, udpFrame(src4, dst4, pattern(1, 23)), false, []span{{0, 1}, udpHole(20)}},
		{"UDP over IPv6, partial checksum", partial(udp6), udp6, false, []span{{0, 40}, udpHole(40)}},
		{"UDP, padded", padded, nil, true, []span{{0, 1}, udpHole(20), {33, 46}}},
		{"ICMP", echo(false), nil, true, []span{{0, 1}}},
		{"ICMPv6, vouched for", echo(true), nil, false, []span{{0, 40}}},
		{"IPv4, unknown protocol", packet(src4, dst4, 200, pattern(1, 30)), nil, true, []span{{0, 1}, {20, 50}}},
	} {
		for _, noSplit := range []bool{false, true} {
			for _, link := range []int{0, 14} {
				t.Run(fmt.Sprintf("%s/nosplit=%v/link=%d", tt.name, noSplit, link), func(t *testing.T) {
					if tt.whole == nil {
						tt.whole = tt.sent
					}
					offload := mem.Local
					if tt.plain {
						offload = mem.Plain
					}
					r := newRig(t, Config{}, options{
						sender:   mem.Config{Offload: offload, LinkHeader: link},
						receiver: mem.Config{NoSplit: noSplit, LinkHeader: link},
					})
					c := newCorrupter(r.pool.Region(), link)
					want := map[int]bool{} // bits to be flipped, each once
					for at := range 8 * len(tt.sent) {
						if !slices.ContainsFunc(tt.exempt, func(s span) bool { return s.from <= at/8 && at/8 < s.to }) {
							want[8*link+at] = true
						}
					}
					first := 0
					for bit := range len(want) + 1 {
						r.sendFrame(driver.TxFrame{Head: onLink(tt.sent, link)})
						f := &r.poll(0)[0]
						if got := f.Checksum == driver.Vouched; got == tt.plain {
							t.Fatalf("vouched for: %v", got)
						}
						c.flip(f, uint64(bit))
						b := r.contents(f)
						r.put()
						at, flipped := difference(b, onLink(tt.whole, link))
						switch {
						case flipped != 1:
							t.Fatalf("bit %d: %d bits are flipped", bit, flipped)
						case len(want) == 0 && at != first:
							t.Fatalf("bit %d: %d is flipped, want to begin again at %d", bit, at, first)
						case len(want) > 0 && !want[at]:
							t.Fatalf("bit %d: %d is flipped, which should not be, or was before", bit, at)
						case bit == 0:
							first = at
						}
						delete(want, at)
						if f.Checksum != driver.Unverified {
							t.Fatal("the frame is still vouched for")
						}
						if cause := verify(b[link:]); cause == wire.OK {
							t.Fatalf("bit %d of the packet flipped, and nobody would see", at-8*link)
						}
					}
				})
			}
		}
	}
}

// TestCorruptAnything: frames that are no packets are corrupted, too, somewhere
// behind the link header.
func TestCorruptAnything(t *testing.T) {
	tcp6 := tcpFrame(src6, dst6, pattern(6, 36))
	tcp6[40+12] = 0 // header length
	for _, tt := range []struct {
		name string
		sent []byte
		link int
	}{
		{"garbage", pattern(1, 50), 0},
		{"one byte", []byte{1}, 0},
		{"ARP", append([]byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x08\x06"), pattern(1, 28)...), 14},
		{"link header cut short", []byte{1, 2, 3}, 14},
		{"malformed TCP over IPv6", tcp6, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := buftest.Heap(t, 1)
			ids := []uint16{0}
			if p.Alloc(ids) != 1 {
				t.Fatal("no buffer")
			}
			defer p.Put(ids[0])
			c := newCorrupter(p.Region(), tt.link)
			for bit := range 8 * len(tt.sent) {
				// Split in the middle, wherever that is.
				half := len(tt.sent) / 2
				f := driver.Frame{Head: bytes.Clone(tt.sent[:half]), Len: len(tt.sent), Checksum: driver.Vouched}
				k := copy(p.Region().Buffer(ids[0])[100:], tt.sent[half:])
				f.Frags = append(f.Frags, p.Frag(ids[0], 100, k))
				c.flip(&f, uint64(bit))
				b := append(f.Head, p.Region().View(f.Frags[0])...)
				at, flipped := difference(b, tt.sent)
				if flipped != 1 || at < 8*tt.link && len(tt.sent) > tt.link || f.Checksum != driver.Unverified {
					t.Errorf("%d bits flipped, the last being %d; checksum %d", flipped, at, f.Checksum)
				}
			}
			c.flip(&driver.Frame{}, 0) // no byte to flip
		})
	}
}

// TestCorruptSuperSegment: as the payload of a frame from our own machine, with
// the headers cut in the middle, in buffers of which none begins at an even byte.
func TestCorruptSuperSegment(t *testing.T) {
	whole := tcpFrame(src6, dst6, pattern(7, 20000))
	sent := partial(whole)
	p := buftest.Heap(t, 40)
	c := newCorrupter(p.Region(), 0)
	for _, head := range []int{0, 7, 40, 55, 57, 60, 1001} {
		for bit := uint64(0); bit < uint64(8*len(whole)); bit += 4999 {
			f := driver.Frame{Head: bytes.Clone(sent[:head]), Len: len(sent), Checksum: driver.Vouched, GSOSize: 1000}
			for off := head; off < len(sent); {
				ids := []uint16{0}
				if p.Alloc(ids) != 1 {
					t.Fatal("no buffer")
				}
				n := min(len(sent)-off, 777)
				copy(p.Region().Buffer(ids[0])[33:], sent[off:off+n])
				f.Frags = append(f.Frags, p.Frag(ids[0], 33, n))
				off += n
			}
			c.flip(&f, bit)
			b := f.Head
			for _, g := range f.Frags {
				b = append(b, p.Region().View(g)...)
			}
			if at, flipped := difference(b, whole); flipped != 1 || verify(b) == wire.OK {
				t.Errorf("head of %d bytes: %d bits flipped, the last being %d: cause %d", head, flipped, at, verify(b))
			}
			p.PutFrags(f.Frags)
		}
	}
}

// TestCorruptDuplicate: a flip is in one of the two only.
func TestCorruptDuplicate(t *testing.T) {
	for _, noSplit := range []bool{false, true} {
		r := newRig(t, Config{Rules: []Rule{{From: 1, To: 500, Do: Duplicate | Corrupt}}}, options{receiver: mem.Config{NoSplit: noSplit}})
		for n := 1; n <= 500; n++ {
			r.send(n, n)
			got := r.poll(0)
			if len(got) != 2 || bytes.Equal(r.contents(&got[0]), numbered(n)) || !bytes.Equal(r.contents(&got[1]), numbered(n)) {
				t.Fatalf("frame %d: %d came, or not the first alone is corrupt", n, len(got))
			}
			if got[0].Checksum != driver.Unverified || got[1].Checksum != driver.Vouched {
				t.Fatalf("checksums: %d and %d", got[0].Checksum, got[1].Checksum)
			}
			r.put()
		}
	}
}

// onLink puts an Ethernet header before a packet.
func onLink(b []byte, link int) []byte {
	if link == 0 {
		return b
	}
	e := wire.Ethernet{Dst: [6]byte{2, 1}, Src: [6]byte{2, 2}, EtherType: wire.EtherTypeIPv4}
	if b[0]>>4 == 6 {
		e.EtherType = wire.EtherTypeIPv6
	}
	h := make([]byte, link)
	if _, err := wire.PutEthernet(h, &e); err != nil {
		panic(err)
	}
	return append(h, b...)
}

// difference is how many bits differ, and which is the last of them.
func difference(a, b []byte) (at, n int) {
	if len(a) != len(b) {
		return 0, -1
	}
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			at = 8*i + bits.Len8(x) - 1
			n += bits.OnesCount8(x)
		}
	}
	return at, n
}
