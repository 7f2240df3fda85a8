package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"
)

// continuation is a packet, without payload, for a Continuation to be made of.
func continuation(t testing.TB, src, dst string, o TCPOptions, seq Seq, ident uint16) []byte {
	t.Helper()
	h := TCP{SrcPort: 1, DstPort: 2, Seq: seq, Ack: 7, Flags: ACK, Window: 99, Options: o}
	ip := IPHeader{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: ProtoTCP, HopLimit: 64, PayloadLen: h.HeaderLen() + 1000}
	b := make([]byte, 128)
	n, err := PutIP(b, &ip)
	if err != nil {
		t.Fatal(err)
	}
	k, err := PutTCP(b[n:], &h)
	if err != nil {
		t.Fatal(err)
	}
	if ip.Src.Is4() {
		binary.BigEndian.PutUint16(b[4:], ident)
		sealIPv4(b)
	}
	return b[:n+k]
}

// sealIPv4 sets the header checksum.
func sealIPv4(b []byte) {
	b[10], b[11] = 0, 0
	var s Sum
	s.Add(b[:IPv4HeaderLen])
	binary.BigEndian.PutUint16(b[10:], s.Checksum())
}

// both parses a packet's headers with 1000 bytes of payload behind them.
func both(b []byte) (p Packet, h TCP, c Cause) {
	if c = ParseIP(b, len(b)+1000, Verify, &p); c != OK {
		return p, h, c
	}
	if p.Proto != ProtoTCP {
		return p, h, WrongProtocol
	}
	return p, h, ParseTCP(b, &p, &h)
}

// continues is Count of one head. It holds vectors against Go, and places against heads.
func continues(t testing.TB, c *Continuation, head []byte, seq Seq) (Flags, bool) {
	t.Helper()
	n, flags := c.Count([][]byte{head}, seq, 1)
	if m, want := c.countWords([][]byte{head}, uint32(seq), 1); m != n || flags != want {
		t.Fatalf("%x behind %x: %d, %v; by words %d, %v", head, c.first, n, flags, m, want)
	}
	if m, have := c.CountAt(head, []int{0}, seq, 1); m != n || have != flags {
		t.Fatalf("%x behind %x: %d, %v; in memory %d, %v", head, c.first, n, flags, m, have)
	}
	if m, have := c.countWordsAt(head, []int{0}, uint32(seq), 1); m != n || have != flags {
		t.Fatalf("%x behind %x: %d, %v; in memory, by words %d, %v", head, c.first, n, flags, m, have)
	}
	return flags, n == 1
}

// countsAt is CountAt of heads, in a memory that has one behind the other, and back to front. It
// holds vectors against Go.
func countsAt(t testing.TB, c *Continuation, heads [][]byte, seq Seq, step int) (int, Flags) {
	t.Helper()
	var mem []byte
	at := make([]int, len(heads))
	for i := len(heads) - 1; i >= 0; i-- {
		mem = append(mem, "between"[:i%8]...)
		at[i] = len(mem)
		mem = append(mem, heads[i]...)
	}
	n, flags := c.CountAt(mem, at, seq, step)
	if m, want := c.countWordsAt(mem, at, uint32(seq), uint32(step)); m != n || flags != want {
		t.Fatalf("%d, %v; by words %d, %v", n, flags, m, want)
	}
	return n, flags
}

// A continuationCase is a kind of packet that is compared.
type continuationCase struct {
	ends    [2]string
	options TCPOptions
	link    int
}

// continuationCases have headers of 40 to 114 bytes.
func continuationCases() (cases []continuationCase) {
	stamps := TCPOptions{HasTimestamps: true, TSVal: 5, TSEcr: 6}
	most := stamps
	most.SACKCount, most.SACK = 3, [4]SACKBlock{{1, 2}, {3, 4}, {5, 6}}
	for _, ends := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		for _, o := range []TCPOptions{{}, stamps, {SACKCount: 1, SACK: [4]SACKBlock{{1, 2}}}, most} {
			for _, link := range []int{0, EthernetHeaderLen} {
				cases = append(cases, continuationCase{ends, o, link})
			}
		}
	}
	return cases
}

func (k *continuationCase) head(t testing.TB, seq Seq, ident uint16) []byte {
	link := []byte("\x02destin\x02source\x08\x00")[:k.link]
	return append(append([]byte(nil), link...), continuation(t, k.ends[0], k.ends[1], k.options, seq, ident)...)
}

func (k *continuationCase) of(t testing.TB, first []byte) (Continuation, Packet, TCP) {
	p, h, cause := both(first[k.link:])
	if cause != OK {
		t.Fatal(cause)
	}
	var c Continuation
	if ok := c.Begin(first, k.link, &p, &h); !ok || c.HeaderLen() != len(first) {
		t.Fatalf("no continuation of %x", first)
	}
	return c, p, h
}

// TestContinuation changes each byte of a packet's headers to every value: if the
// packet still counts as the next one, the parsers say so, too.
func TestContinuation(t *testing.T) {
	for _, k := range continuationCases() {
		first := k.head(t, 100, 0xfffe)
		c, p, h := k.of(t, first)
		for i, id := range []uint16{0xfffe, 0xffff, 0, 1} {
			next := k.head(t, Seq(100+i*1000), id)
			if flags, ok := continues(t, &c, next, Seq(100+i*1000)); !ok || flags != ACK {
				t.Errorf("%x does not continue %x", next, first)
			}
		}
		if _, ok := continues(t, &c, first[:len(first)-1], 100); ok {
			t.Error("part of the headers is enough")
		}
		next := k.head(t, 1100, 1)
		found := 0
		for _, seal := range []bool{false, true} {
			for i := range next {
				for v := range 256 {
					b := append([]byte(nil), next...)
					b[i] = byte(v)
					if seal && p.Version == 4 {
						sealIPv4(b[k.link:])
					}
					flags, ok := continues(t, &c, b, 1100)
					if !ok {
						continue
					}
					found++
					q, g, cause := both(b[k.link:])
					if cause != OK || g.Seq != 1100 || g.Flags != flags || flags&^PSH != ACK {
						t.Fatalf("byte %d = %d: %v, %+v", i, v, cause, g)
					}
					q.ID, g.Seq, g.Flags = p.ID, h.Seq, h.Flags
					if q != p || g != h || string(b[:k.link]) != string(first[:k.link]) {
						t.Fatalf("byte %d = %d: %+v %+v, want %+v %+v", i, v, q, g, p, h)
					}
				}
			}
		}
		// Each byte as it is, PSH, and what is in the TCP checksum.
		if least := 2 * (len(next) + 1 + 2*255); found < least {
			t.Errorf("%d of the packets continue, want at least %d", found, least)
		}
	}
}

// TestContinuationCount: the count ends with the first that does not continue, and what
// that and those behind it have is not in the flags.
func TestContinuationCount(t *testing.T) {
	const many, start = 7, 0xffffffff - 2500 // sequence numbers wrap
	for _, k := range continuationCases() {
		first := k.head(t, 100, 0)
		c, _, _ := k.of(t, first)
		var heads [][]byte
		for i := range many {
			seq := uint32(start)
			heads = append(heads, append(k.head(t, Seq(seq+uint32(i)*1000), uint16(i)), "payload"...))
		}
		for bad := range many + 1 {
			for push := range many {
				heads[push][c.l4+flagsOffset] |= byte(PSH)
				if bad < many {
					heads[bad][c.l4] ^= 1
				}
				n, flags := c.Count(heads, start, 1000)
				if m, want := c.countWords(heads, start, 1000); m != n || flags != want {
					t.Errorf("%d, %v; by words %d, %v", n, flags, m, want)
				}
				if m, have := countsAt(t, &c, heads, start, 1000); m != n || have != flags {
					t.Errorf("%d, %v; in memory %d, %v", n, flags, m, have)
				}
				if want := push < bad; n != bad || flags.Has(PSH) != want || n > 0 && !flags.Has(ACK) {
					t.Errorf("%d of %d, %v: number %d differs, %d has PSH", n, many, flags, bad, push)
				}
				if bad < many {
					heads[bad][c.l4] ^= 1
				}
				heads[push][c.l4+flagsOffset] &^= byte(PSH)
			}
		}
		if n, _ := c.Count(heads, start, 1001); n != 1 {
			t.Errorf("%d that are 1000 apart continue with steps of 1001", n)
		}
		if n, flags := c.Count(nil, start, 1000); n != 0 || flags != 0 {
			t.Errorf("%d of none, %v", n, flags)
		}
	}
}

// TestContinuationPlaces: a place that is not in the memory, or has too little behind it, ends the
// count before it is looked at.
func TestContinuationPlaces(t *testing.T) {
	for _, k := range continuationCases() {
		first := k.head(t, 100, 0)
		c, _, _ := k.of(t, first)
		n := len(first)
		mem := append(append([]byte(nil), first...), first...)
		for _, bad := range []int{-1, -n, n + 1, 2 * n, 2*n + 1, math.MaxInt, math.MinInt, math.MaxInt - n + 1} {
			for _, count := range []func([]byte, []int) (int, Flags){
				func(mem []byte, at []int) (int, Flags) { return c.CountAt(mem, at, 100, 0) },
				func(mem []byte, at []int) (int, Flags) { return c.countWordsAt(mem, at, 100, 0) },
			} {
				if n, _ := count(mem, []int{0, n, bad, 0}); n != 2 {
					t.Errorf("%d with the place %d, want 2", n, bad)
				}
				if n, _ := count(mem[:n-1], []int{0}); n != 0 {
					t.Errorf("%d in a memory that is too short", n)
				}
				if n, _ := count(nil, []int{0}); n != 0 {
					t.Errorf("%d in none", n)
				}
				if n, flags := count(mem, nil); n != 0 || flags != 0 {
					t.Errorf("%d of none, %v", n, flags)
				}
			}
		}
	}
}

// TestContinuationIdent takes all that identification and checksum can change to and be
// congruent, and what is next to it.
func TestContinuationIdent(t *testing.T) {
	k := continuationCases()[0]
	words := []uint16{0, 1, 2, 0xff, 0x100, 0x7fff, 0xfeff, 0xff00, 0xfffd, 0xfffe, 0xffff}
	same := 0
	set := func(b []byte, id, sum uint16) {
		binary.BigEndian.PutUint16(b[4:], id)
		binary.BigEndian.PutUint16(b[10:], sum)
	}
	for i := range len(words) * len(words) {
		first := k.head(t, 100, 0)
		p, h, _ := both(first)
		set(first, words[i%len(words)], words[i/len(words)])
		var c Continuation
		c.Begin(first, 0, &p, &h)
		for j := range len(words) * len(words) {
			next := k.head(t, 100, 0)
			set(next, words[j%len(words)], words[j/len(words)])
			want := (int(words[i%len(words)])+int(words[i/len(words)])-int(words[j%len(words)])-int(words[j/len(words)]))%0xffff == 0
			if _, ok := continues(t, &c, next, 100); ok != want {
				t.Fatalf("%x behind %x: %v, want %v", next, first, ok, want)
			}
			if want {
				same++
			}
		}
	}
	if same < 3*len(words) {
		t.Errorf("%d of the pairs are congruent", same)
	}
}

// FuzzContinuation holds vectors against Go, with headers that no parser has seen: they
// are compared in the same way, whatever they mean.
func FuzzContinuation(f *testing.F) {
	for _, k := range continuationCases() {
		f.Add(k.head(f, 100, 7), k.head(f, 1100, 8), k.link > 0, k.ends[0][0] != '1', uint8(5), uint8(1), uint32(1100), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, first, next []byte, ethernet, ipv6 bool, at, with uint8, seq uint32, step uint16) {
		p, link := Packet{Version: 4, L4Offset: IPv4HeaderLen}, 0
		if ipv6 {
			p = Packet{Version: 6, L4Offset: IPv6HeaderLen}
		}
		if ethernet {
			link = EthernetHeaderLen
		}
		length := len(first) - link
		if length < p.L4Offset+TCPHeaderLen || length > p.L4Offset+60 {
			return
		}
		var c Continuation
		if !c.Begin(first, link, &p, &TCP{PayloadOffset: length &^ 3}) {
			t.Fatal("no continuation")
		}
		like := append([]byte(nil), first...) // of which the fuzzer need not guess all
		binary.BigEndian.PutUint32(like[c.l4+4:], seq)
		changed := append([]byte(nil), like...)
		changed[int(at)%len(changed)] ^= with
		second := append([]byte(nil), like...)
		binary.BigEndian.PutUint32(second[c.l4+4:], seq+uint32(step))
		for _, head := range [][]byte{like, changed, second, next, nil} {
			continues(t, &c, head, Seq(seq))
		}
		run := [][]byte{like, second, changed}
		n, flags := c.Count(run, Seq(seq), int(step))
		if m, want := c.countWords(run, seq, uint32(step)); n < 2 || m != n || flags != want {
			t.Fatalf("%x: %d, %v; by words %d, %v", run, n, flags, m, want)
		}
		if m, have := countsAt(t, &c, run, Seq(seq), int(step)); m != n || have != flags {
			t.Fatalf("%x: %d, %v; in memory %d, %v", run, n, flags, m, have)
		}
	})
}

func BenchmarkContinuation(b *testing.B) {
	for _, k := range continuationCases() {
		first := k.head(b, 100, 7)
		c, _, _ := k.of(b, first)
		var heads [][]byte
		for i := range 64 {
			heads = append(heads, k.head(b, Seq(1100+i*1000), uint16(i)))
		}
		run := func(name string, count func() (int, Flags)) {
			b.Run(fmt.Sprintf("%dB/%s", len(first), name), func(b *testing.B) {
				for b.Loop() {
					if n, _ := count(); n != len(heads) {
						b.Fatal(n)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(heads)), "ns/head")
			})
		}
		run("words", func() (int, Flags) { return c.countWords(heads, 1100, 1000) })
		var mem []byte
		var at []int
		for _, head := range heads {
			at = append(at, len(mem))
			mem = append(mem, head...)
		}
		run("CountAt", func() (int, Flags) { return c.CountAt(mem, at, 1100, 1000) })
		run("Count", func() (int, Flags) { return c.Count(heads, 1100, 1000) })
	}
}

// TestContinuationOptions: headers of other lengths are not compared.
func TestContinuationOptions(t *testing.T) {
	b := continuation(t, "192.0.2.1", "192.0.2.2", TCPOptions{}, 100, 1)
	long := append(append(append([]byte(nil), b[:20]...), 1, 1, 1, 1), b[20:]...)
	long[0]++
	long[3] += 4
	long[10], long[11] = 0, 0
	var s Sum
	s.Add(long[:24])
	binary.BigEndian.PutUint16(long[10:], s.Checksum())
	p, h, cause := both(long)
	if cause != OK {
		t.Fatal(cause)
	}
	var c Continuation
	if c.Begin(long, 0, &p, &h) {
		t.Error("IP options are not compared")
	}
	p, h, _ = both(b)
	if c.Begin(b, 0, &p, &TCP{PayloadOffset: h.PayloadOffset - 1}) {
		t.Error("there is no TCP header")
	}
	if c.Begin(append(make([]byte, EthernetHeaderLen+VLANTagLen), b...), EthernetHeaderLen+VLANTagLen, &p, &h) {
		t.Error("VLAN tags are not compared")
	}
}
