package stack

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// twins are two stacks that are given the same frames: one whole batches, so that it
// may merge, the other one frame after the other.
type twins struct {
	t     *testing.T
	rand  *rand.Rand
	rigs  [2]*rig
	conns [2]*tcp.Conn
	addr  pair
	link  int
	lay   []layout // a frame has one of these
	check driver.Checksum
	h     wire.TCP // of the peer's next segment
	tc    uint8    // of its packets
	heard wire.Seq // what it has got of our data
	only  int      // the one kind of oddity that it shows; -1: all
	lazy  int      // of so many rounds the application sleeps through all but one
}

const oddities = 20

func newTwins(t *testing.T, seed uint64) *twins {
	w := &twins{t: t, rand: rand.New(rand.NewPCG(seed, 1)), addr: pairs[seed%2]}
	w.only, w.lazy = -1, 1
	if seed%3 > 0 {
		w.only = int(seed) % oddities
	}
	if seed%5 == 0 {
		w.lazy = 12
	}
	w.link = int(seed / 2 % 2 * wire.EthernetHeaderLen)
	w.check = driver.Checksum(seed / 4 % 2)
	o := wire.TCPOptions{MSS: 1460, HasWindowScale: true, SACKPermitted: seed/8%2 == 0, HasTimestamps: seed/16%2 == 0, TSVal: 100}
	w.h = wire.TCP{SrcPort: peerPort, DstPort: ourPort, Seq: wire.Seq(w.rand.Uint32()), Flags: wire.SYN | wire.ECE | wire.CWR, Window: 65535, Options: o}
	for i := range w.rigs {
		w.rigs[i] = newRig(t, func(c *Config, d *driver.Caps) {
			c.Pool, d.LinkHeader = newPool(t, 768), w.link
		})
		_, err := w.rigs[i].stack.Listen("tcp", netip.AddrPortFrom(w.addr.us, ourPort), func() bool { return false },
			func(c *tcp.Conn) { w.conns[i] = c })
		if err != nil {
			t.Fatal(err)
		}
	}
	w.lay = []layout{whole}
	w.round(0, [][]byte{w.packet(w.h, nil)})
	w.h.Seq++
	w.h.Flags = wire.ACK
	w.h.Options = wire.TCPOptions{HasTimestamps: o.HasTimestamps, TSVal: 100}
	headers := len(w.packet(w.h, nil))
	w.round(0, [][]byte{w.packet(w.h, nil)})
	if w.conns[0] == nil || w.conns[1] == nil {
		t.Fatal("not connected")
	}
	w.lay = [][]layout{
		{{headers, []int{4096}}}, {{headers, []int{400}}}, {whole}, {{0, []int{headers + 10, 600}}},
		{{headers, []int{4096}}, whole, {20, []int{100}}, {headers + 9, []int{4096}}, {0, []int{headers, 4096}}},
	}[w.rand.IntN(5)]
	return w
}

// packet makes a frame of the peer's.
func (w *twins) packet(h wire.TCP, payload []byte) []byte {
	b := tcpPacket(w.t, w.addr.peer, w.addr.us, h, payload)
	if w.addr.us.Is4() {
		b[1] = w.tc
		b[5] = byte(w.rand.Uint32()) // identification
		b[10], b[11] = 0, 0
		var s wire.Sum
		s.Add(b[:wire.IPv4HeaderLen])
		c := s.Checksum()
		b[10], b[11] = byte(c>>8), byte(c)
	} else {
		b[1] = b[1]&0xf | w.tc<<4
	}
	if w.link > 0 {
		e := make([]byte, w.link, w.link+len(b))
		h := wire.Ethernet{EtherType: wire.EtherTypeIPv4}
		if w.addr.us.Is6() {
			h.EtherType = wire.EtherTypeIPv6
		}
		if _, err := wire.PutEthernet(e, &h); err != nil {
			w.t.Fatal(err)
		}
		b = append(e, b...)
	}
	return b
}

// segments is what the peer sends at once: mostly one after the other and all alike.
func (w *twins) segments() (out [][]byte) {
	each := []int{1, 100, 1000, 1448, 1448, 1448}[w.rand.IntN(6)]
	odd := func() bool { return w.rand.IntN(10) == 0 }
	if w.rand.IntN(3) == 0 {
		odd = func() bool { return false }
	}
	kind, left := 0, 0 // of oddities, for so many segments
	for range 1 + w.rand.IntN(24) {
		h, n, skip := w.h, each, false
		if left--; left < 0 && odd() {
			if kind = w.only; kind < 0 {
				kind = w.rand.IntN(oddities)
			}
			left = w.rand.IntN(4)
		}
		switch {
		case left < 0:
		case kind == 0:
			h.Flags |= wire.PSH
		case kind == 1:
			h.Flags |= wire.URG
		case kind == 2:
			h.Flags |= wire.ECE
		case kind == 3:
			h.Flags |= wire.CWR
		case kind == 4:
			w.tc ^= uint8(wire.CE)
		case kind == 5:
			w.h.Options.TSVal++
			h.Options.TSVal++
		case kind == 6:
			h.Options.TSVal -= 50
		case kind == 7:
			w.h.Window ^= 1
			h.Window ^= 1
		case kind == 8:
			w.h.Ack, h.Ack = w.heard, w.heard
		case kind == 9:
			h.Ack += 1 << 20
		case kind == 10:
			w.h.Seq = w.h.Seq.Add(uint32(each)) // a gap
			continue
		case kind == 11:
			h.Seq = h.Seq.Add(-uint32(w.rand.IntN(3 * each))) // some of it again
			skip = true
		case kind == 12:
			n = w.rand.IntN(1448)
		case kind == 13:
			n = 0
		case kind == 14:
			skip = true // comes again
		case kind == 15 && w.rand.IntN(20) == 0:
			h.Flags |= wire.FIN
		case kind == 16 && w.rand.IntN(20) == 0:
			h.Flags |= wire.RST
		case kind == 17:
			h.Options.SACKCount, h.Options.SACK[0] = 1, wire.SACKBlock{Start: w.h.Ack + 1000, End: w.heard}
		case kind == 19: // some of it again and more, in a segment from before the last, whose window is out of date
			h.Seq, h.Window, n, skip = h.Seq.Add(-uint32(each+100)), 1, 1448, true
		case kind == 18 && len(out) > 0: // overtakes the one before
			i := len(out) - 1
			out = append(out, out[i])
			out[i] = w.packet(h, pattern(int(h.Seq), n))
			w.h.Seq = w.h.Seq.Add(uint32(n))
			continue
		}
		b := w.packet(h, pattern(int(h.Seq), n))
		if odd() && w.check == driver.Unverified {
			b[len(b)-1]++ // what was n bytes of payload, or a header
		}
		if !skip {
			w.h.Seq = w.h.Seq.Add(uint32(n))
		}
		if out = append(out, b); odd() {
			out = append(out, b)
		}
	}
	return out
}

// round delivers frames, and requires that both stacks make the same of them.
func (w *twins) round(pass time.Duration, packets [][]byte) {
	w.t.Helper()
	lays := make([]layout, len(packets))
	for i := range lays {
		lays[i] = w.lay[w.rand.IntN(len(w.lay))]
	}
	inTwoWays(w.t, w.rigs, pass, len(packets), func(r *rig, k int) driver.Frame {
		f := r.frame(packets[k], lays[k])
		f.Checksum = w.check
		return f
	}, oneWay)
	a := w.rigs[0]
	for _, p := range a.wire.sent {
		h := parse(w.t, p[w.link:])
		if end := h.tcp.Seq.Add(uint32(len(h.payload))); h.tcp.Flags.Has(wire.SYN) {
			w.h.Ack, w.heard = end.Add(1), end.Add(1)
		} else if w.heard.LessThan(end) {
			w.heard = end
		}
	}
	if c := w.conns; c[0] != nil && (c[0].State() != c[1].State() || c[0].Deadline() != c[1].Deadline() || c[0].Held() != c[1].Held()) {
		w.t.Fatalf("after a batch: %v until %v, %d buffers; one by one: %v until %v, %d", c[0].State(), c[0].Deadline(), c[0].Held(), c[1].State(), c[1].Deadline(), c[1].Held())
	}
}

// take takes what was received.
func (w *twins) take() {
	w.t.Helper()
	a, copied, err := w.rigs[0].take(w.conns[0])
	b, copied1, err1 := w.rigs[1].take(w.conns[1])
	if !bytes.Equal(a, b) || copied != copied1 || err != err1 {
		w.t.Fatalf("in a batch: %d bytes, %d copied, %v; one by one: %d, %d, %v", len(a), copied, err, len(b), copied1, err1)
	}
}

// TestMergedAsSingle: a batch does to a connection just what its frames do one by one,
// to what is sent, received and counted, whatever is among them. ZCTAP_SCALE: longer.
func TestMergedAsSingle(t *testing.T) {
	var merged uint64
	for seed := range uint64(testenv.Scale("ZCTAP_SCALE", 640, 96)) {
		w := newTwins(t, seed)
		for range 40 {
			w.round(time.Duration(w.rand.IntN(60))*time.Millisecond, w.segments())
			if w.rand.IntN(w.lazy) == 0 {
				w.take()
			}
			if w.only != 0 && w.rand.IntN(4) == 0 { // else PSH draws an ACK
				p := pattern(3, 1+w.rand.IntN(4000))
				for _, c := range w.conns {
					_, _ = c.Send.TryWrite(p) // it may have ended
					c.Kick()
				}
			}
			if w.rand.IntN(10) == 0 {
				w.h.Seq = w.rigs[0].expects(w.h.Seq) // what is missing comes
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		merged += w.rigs[0].stack.Stats().Merged
		for i, r := range w.rigs {
			r.end(w.conns[i])
		}
	}
	t.Logf("%d segments merged", merged)
	if merged < 5_000 {
		t.Errorf("%d segments merged", merged)
	}
}

// expects is what the last ACK that was sent asks for; seq if none was.
func (r *rig) expects(seq wire.Seq) wire.Seq {
	if n := len(r.wire.sent); n > 0 {
		return parse(r.t, r.wire.sent[n-1][r.stack.caps.LinkHeader:]).tcp.Ack
	}
	return seq
}

// TestMergedPush: a PSH of any segment draws the ACK that would wait otherwise.
func TestMergedPush(t *testing.T) {
	for seed := range uint64(32) {
		w := newTwins(t, seed)
		headers := len(w.packet(w.h, nil))
		w.lay = []layout{{headers, []int{4096}}}
		next := func(n int, flags ...wire.Flags) (batch [][]byte) {
			for _, f := range flags {
				h := w.h
				h.Flags |= f
				batch = append(batch, w.packet(h, pattern(0, n)))
				w.h.Seq = w.h.Seq.Add(uint32(n))
			}
			return batch
		}
		for range 20 { // those are acknowledged at once
			w.round(time.Millisecond, next(1448, 0))
			w.take()
		}
		w.round(time.Second, nil)
		sent := &w.rigs[0].wire.sent
		if w.round(0, next(100, 0, 0, 0)); len(*sent) != 0 {
			t.Errorf("seed %d: %d frames answer less than two full segments", seed, len(*sent))
		}
		if w.round(0, next(100, 0, wire.PSH, 0)); len(*sent) != 1 {
			t.Errorf("seed %d: %d frames answer PSH", seed, len(*sent))
		}
		if n := w.rigs[0].stack.Stats().Merged; n != 4 {
			t.Errorf("seed %d: %d segments merged, want 4", seed, n)
		}
		w.take()
		for i, r := range w.rigs {
			r.end(w.conns[i])
		}
	}
}

// TestMergedPushDropped: a PSH of a segment that is dropped for its checksum, behind a run, draws no ACK.
func TestMergedPushDropped(t *testing.T) {
	for seed := range uint64(32) {
		w := newTwins(t, seed)
		w.check = driver.Unverified
		headers := len(w.packet(w.h, nil))
		w.lay = [][]layout{{whole}, {{headers, []int{4096}}}}[seed/16%2]
		segment := func(n int, flags wire.Flags) []byte {
			h := w.h
			h.Flags |= flags
			w.h.Seq = w.h.Seq.Add(uint32(n))
			return w.packet(h, pattern(0, n))
		}
		for range 20 { // those are acknowledged at once
			w.round(time.Millisecond, [][]byte{segment(1448, 0)})
			w.take()
		}
		w.round(time.Second, nil)
		run, last := [][]byte{segment(100, 0), segment(100, 0)}, segment(100, wire.PSH)
		wrong := bytes.Clone(last)
		wrong[len(wrong)-1]++
		before := w.rigs[0].stack.Stats().Merged
		w.round(0, append(run, wrong))
		if n, merged := len(w.rigs[0].wire.sent), w.rigs[0].stack.Stats().Merged-before; n != 0 || merged != 1 {
			t.Errorf("seed %d: %d frames answer, %d segments merged", seed, n, merged)
		}
		w.round(0, [][]byte{last})
		if n := len(w.rigs[0].wire.sent); n != 1 {
			t.Errorf("seed %d: %d frames answer PSH", seed, n)
		}
		w.take()
		for i, r := range w.rigs {
			r.end(w.conns[i])
		}
	}
}

// TestMergedOdd: what is beyond the window is judged segment by segment, and what is behind
// a packet in its frame is no payload.
func TestMergedOdd(t *testing.T) {
	for seed := range uint64(32) {
		w := newTwins(t, seed)
		headers := len(w.packet(w.h, nil))
		w.lay = [][]layout{{whole}, {{headers, []int{4096}}}}[seed/16%2]
		segments := func(n int) (batch [][]byte) {
			for range n {
				batch = append(batch, w.packet(w.h, pattern(int(w.h.Seq), 1448)))
				w.h.Seq = w.h.Seq.Add(1448)
			}
			return batch
		}
		batch := segments(7)
		for _, i := range []int{2, 3, 5} {
			batch[i] = append(batch[i], "behind the packet"...)
		}
		w.round(0, batch)
		if n := w.rigs[0].stack.Stats().Merged; n != 1 { // the second
			t.Errorf("seed %d: %d segments merged with padded ones among them, want 1", seed, n)
		}
		w.take()
		before := w.rigs[0].stack.Stats()
		w.round(0, segments(150))
		s := w.rigs[0].stack.Stats()
		if s.TCP.Drops.BeyondWindow == before.TCP.Drops.BeyondWindow {
			t.Errorf("seed %d: nothing is beyond the window", seed)
		}
		inside := (s.TCP.ZeroCopyBytes - before.TCP.ZeroCopyBytes) / 1448
		if n := s.Merged - before.Merged; n != inside-1 {
			t.Errorf("seed %d: %d segments merged with one, of %d in the window", seed, n, inside)
		}
		w.take()
		for i, r := range w.rigs {
			r.end(w.conns[i])
		}
	}
}

// TestMergedImitation: payload that looks like the headers of the next segment, where a frame
// whose head is longer than its headers goes on, is payload.
func TestMergedImitation(t *testing.T) {
	for seed := range uint64(32) {
		w := newTwins(t, seed)
		headers := len(w.packet(w.h, nil))
		w.lay = []layout{{headers + 9, []int{4096}}}
		var batch [][]byte
		for range 4 {
			p := pattern(int(w.h.Seq), 1448)
			copy(p[9:], w.packet(w.h, p)[:headers])
			batch = append(batch, w.packet(w.h, p))
			w.h.Seq = w.h.Seq.Add(1448)
		}
		w.round(0, batch)
		w.take()
		for i, r := range w.rigs {
			r.end(w.conns[i])
		}
	}
}

// TestMergedInLine: of frames whose frags do not lie in line, or not as it seems, each has its own
// payload.
func TestMergedInLine(t *testing.T) {
	const each = 1000
	for seed := range uint64(8) {
		for _, kind := range []string{"in line", "overtaken", "two frags", "split", "longer", "unverified"} {
			w := newTwins(t, seed)
			w.lay = []layout{whole}
			w.check = driver.Vouched
			headers := len(w.packet(w.h, nil))
			var packets [][]byte
			for i := range 3 {
				p := pattern(int(w.h.Seq), each)
				if like := w.packet(w.h, p)[:headers]; i == 1 && kind == "split" {
					copy(p, like)
				} else if i == 1 && kind == "longer" { // by what makes its frag as long as the frames are
					p = append(like, pattern(0, each)...)
				}
				packets = append(packets, w.packet(w.h, p))
				w.h.Seq = w.h.Seq.Add(uint32(len(p)))
			}
			switch kind {
			case "overtaken":
				packets[1], packets[2] = packets[2], packets[1]
			case "two frags":
				packets[2] = w.packet(w.h, nil)
			case "unverified":
				packets[1][headers+each/2]++
			}
			inTwoWays(t, w.rigs, time.Millisecond, len(packets), func(r *rig, k int) driver.Frame {
				lay := whole
				if k == 1 && (kind == "split" || kind == "longer") || k == 2 && kind == "two frags" {
					lay = layout{headers, []int{4096}}
				}
				f := r.frame(packets[k], lay)
				f.Checksum = driver.Vouched
				if k == 1 && kind == "unverified" {
					f.Checksum = driver.Unverified
				}
				if k == 1 && kind == "two frags" {
					f.Frags = append(f.Frags, r.frame([]byte{0}, whole).Frags[0].Slice(1, 1))
				}
				return f
			}, func(frames []driver.Frame) *driver.Batch {
				b := batch(frames)
				if kind == "overtaken" {
					f, g := &frames[1], &frames[2]
					f.Frags[0], g.Frags[0] = g.Frags[0], f.Frags[0]
					f.Frags, g.Frags = g.Frags, f.Frags
				}
				if len(b.Frags) != len(b.Frames) {
					t.Fatalf("%d frags of %d frames", len(b.Frags), len(b.Frames))
				}
				return b
			})
			want := map[string]uint64{"in line": 2, "split": 1}[kind] // the third with the second
			if n := w.rigs[0].stack.Stats().Merged; n != want {
				t.Errorf("seed %d, %s: %d segments merged, want %d", seed, kind, n, want)
			}
			w.take()
			for i, r := range w.rigs {
				r.end(w.conns[i])
			}
		}
	}
}

// TestMergedBadChecksum: a run of segments ends at one whose IP header is damaged, which is dropped, and goes on
// behind it: in the checksum, and in fields that the segments of a run have in common.
func TestMergedBadChecksum(t *testing.T) {
	for seed := range uint64(64) {
		w := newTwins(t, seed)
		if !w.addr.us.Is4() {
			continue // IPv6 has none
		}
		headers := len(w.packet(w.h, nil))
		w.lay = [][]layout{{whole}, {{headers, []int{4096}}}}[seed/16%2]
		w.round(0, [][]byte{w.packet(w.h, nil)})
		before := w.rigs[0].stack.Stats()
		const run, bad = 9, 4
		start := w.h.Seq
		var batch [][]byte
		for range run {
			batch = append(batch, w.packet(w.h, pattern(int(w.h.Seq), 999))) // an odd length
			w.h.Seq = w.h.Seq.Add(999)
		}
		damaged := bytes.Clone(batch[bad])
		damaged[w.link+[]int{4, 5, 10, 11}[seed/2%4]] ^= 1 << (seed % 8) // identification, checksum
		w.round(0, append(append(append([][]byte{}, batch[:bad]...), damaged), batch[bad+1:]...))
		after := w.rigs[0].stack.Stats()
		if n := after.Merged - before.Merged; n != bad-1 {
			t.Errorf("seed %d: %d segments merged, want %d", seed, n, bad-1)
		}
		if got := w.rigs[0].expects(start); got != start.Add(bad*999) {
			t.Errorf("seed %d: %d bytes acknowledged", seed, got.Sub(start))
		}
		w.round(0, batch[bad:bad+1]) // again
		if got := w.rigs[0].expects(start); got != start.Add(run*999) {
			t.Errorf("seed %d: %d bytes acknowledged in the end", seed, got.Sub(start))
		}
		w.take()
		for i, r := range w.rigs {
			r.end(w.conns[i])
		}
	}
}
