package tcp

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// withSACK makes the peer's SYN permit SACK.
func withSACK(s *script) { s.opts.SACKPermitted = true }

// blocks are the SACK blocks of a segment, relative to the peer's SYN.
func (s *script) blocks(o sent) (b []int) {
	for _, k := range o.Options.SACK[:o.Options.SACKCount] {
		b = append(b, int(k.Start.Sub(s.irs)), int(k.End.Sub(s.irs)))
	}
	return b
}

// expectBlocks checks that one ACK without payload came out, with those blocks.
func (s *script) expectBlocks(what string, out []sent, blocks ...int) {
	s.t.Helper()
	if len(out) != 1 || len(out[0].payload) != 0 {
		s.t.Fatalf("%s: %d segments came out: %+v", what, len(out), out)
	}
	if got := s.blocks(out[0]); fmt.Sprint(got) != fmt.Sprint(blocks) {
		s.t.Fatalf("%s: blocks %v, want %v", what, got, blocks)
	}
}

// RFC 2018 section 2: SACK is used if both ends permit it.
func TestSACKNegotiation(t *testing.T) {
	for _, permitted := range []bool{false, true} {
		s := newScript(t, 64, nil)
		s.opts.SACKPermitted = permitted
		s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple)
		out := s.flush()
		if got := out[0].Options.SACKPermitted; got != permitted {
			t.Errorf("peer permits %v: our SYN-ACK permits %v", permitted, got)
		}
		s.opts.SACKPermitted = false
		s.inOut(1, 1, wire.ACK, nil)
		if got := s.inOut(101, 1, wire.ACK, make([]byte, 100))[0].Options.SACKCount; got != 0 != permitted {
			t.Errorf("peer permits %v: %d blocks", permitted, got)
		}

		s = newScript(t, 64, nil)
		s.c = Dial(s.sh, s.now, testTuple, testMSS)
		if out = s.flush(); !out[0].Options.SACKPermitted {
			t.Error("our SYN does not offer SACK")
		}
		s.opts.SACKPermitted = permitted
		if out = s.inOut(0, 1, wire.SYN|wire.ACK, nil); out[0].Options.SACKPermitted {
			t.Error("SACK-permitted outside of a SYN")
		}
		if s.c.opt.sack != permitted {
			t.Errorf("peer permits %v: we use it %v", permitted, s.c.opt.sack)
		}
	}
}

// RFC 2018 section 4: the range that changed last comes first, then the others,
// as many as there is room for.
func TestSACKBlocks(t *testing.T) {
	for _, timestamps := range []bool{false, true} {
		s := established(t, func(s *script) {
			withSACK(s)
			s.opts.HasTimestamps, s.opts.TSVal = timestamps, 1
		})
		p := func(seq int) []sent { return s.inOut(seq, 1, wire.ACK, stream(seq-1, 100)) }
		s.expectBlocks("one", p(201), 201, 301)
		s.expectBlocks("another", p(401), 401, 501, 201, 301)
		s.expectBlocks("before them, joined", p(101), 101, 301, 401, 501)
		s.expectBlocks("third", p(601), 601, 701, 101, 301, 401, 501)
		want := []int{801, 901, 601, 701, 101, 301, 401, 501}
		if timestamps {
			want = want[:6]
		}
		s.expectBlocks("fourth", p(801), want...)
		want = []int{1001, 1101, 801, 901, 601, 701, 101, 301}
		if timestamps {
			want = want[:6]
		}
		s.expectBlocks("fifth", p(1001), want...)
		// 401 was forgotten, and is found again; 601 is joined from both sides.
		want = []int{401, 701, 1001, 1101, 801, 901, 101, 301}
		if timestamps {
			want = want[:6]
		}
		s.expectBlocks("between", p(501), want...)
		s.expectBlocks("the gap", p(1), []int{401, 701, 1001, 1101, 801, 901}...)
		s.expectBlocks("all but the last, some of it twice", s.inOut(301, 1, wire.ACK, stream(300, 600)), 801, 901, 1001, 1101)
		s.expectBlocks("all", p(901))
	}
}

// RFC 2883: what comes twice is reported first, in one ACK.
func TestDSACK(t *testing.T) {
	s := established(t, withSACK)
	p := func(seq, n int) []sent { return s.inOut(seq, 1, wire.ACK, stream(seq-1, n)) }
	p(1, 500)
	s.expectBlocks("old", p(101, 100), 101, 201)
	s.expectBlocks("old and new", p(401, 200), 401, 501)
	s.expectBlocks("beyond a gap", p(701, 100), 701, 801)
	s.expectBlocks("that again", p(701, 100), 701, 801, 701, 801)
	s.expectBlocks("and more", p(751, 100), 751, 801, 701, 851)
	s.expectBlocks("nothing twice", p(901, 100), 901, 1001, 701, 851)
	s.in(1, 1, wire.ACK, stream(0, 100))
	s.in(101, 1, wire.ACK, stream(100, 100))
	s.expectBlocks("two in a batch", s.flush(), 1, 201, 901, 1001, 701, 851)
	s.expectBlocks("a gap filled, and twice", p(551, 150), 551, 601, 901, 1001)
}

// Data has no room for blocks: they go ahead of it.
func TestSACKAheadOfData(t *testing.T) {
	s := established(t, withSACK)
	s.write(100)
	out := s.inOut(101, 1, wire.ACK, stream(100, 100))
	s.expect("ACK and data", out, seg(1, 1, wire.ACK, 0), seg(1, 1, wire.ACK, 100))
	if len(s.blocks(out[0])) != 2 || len(s.blocks(out[1])) != 0 {
		t.Errorf("blocks %v and %v", s.blocks(out[0]), s.blocks(out[1]))
	}
}

// A batch that changes more ranges than fit is reported by several ACKs, the most
// recent ranges in the last one.
func TestSACKBatch(t *testing.T) {
	for _, timestamps := range []bool{false, true} {
		s := established(t, func(s *script) {
			withSACK(s)
			s.opts.HasTimestamps, s.opts.TSVal = timestamps, 1
		})
		room := wire.MaxSACKBlocks(timestamps)
		for n := 1; n <= 14; n++ {
			for _, twice := range []bool{false, true} {
				want := map[int]bool{}
				for i := range n {
					seq := 101 + 200*i
					s.in(seq, 1, wire.ACK, stream(seq-1, 100))
					want[seq] = true
				}
				slots := min(n, maxReported)
				if twice {
					s.in(101+200*(n-1), 1, wire.ACK, stream(200*(n-1)+100, 100))
					slots++
				}
				out := s.flush()
				if acks := (slots + room - 1) / room; len(out) != acks {
					t.Fatalf("%d ranges: %d ACKs, want %d", n, len(out), acks)
				}
				last := s.blocks(out[len(out)-1])
				if twice {
					last = last[2:]
				}
				if len(last) > 0 && last[0] != 101+200*(n-1) {
					t.Errorf("%d ranges: the last ACK has %v", n, last)
				}
				for i, o := range out {
					b := s.blocks(o)
					if twice && i == len(out)-1 {
						b = b[2:]
					}
					for k := 0; k < len(b); k += 2 {
						delete(want, b[k])
					}
				}
				if len(want) != n-min(n, maxReported) {
					t.Errorf("%d ranges, twice %v: not reported %v", n, twice, want)
				}
				if out := s.inOut(10001, 1, wire.ACK, []byte{1}); len(out) != 1 {
					t.Errorf("%d ranges: %d ACKs for one more", n, len(out))
				}
				s.c.dropHeld()
			}
		}
	}
}

// What was given up for want of buffers is not reported any more.
func TestSACKReneging(t *testing.T) {
	s := established(t, withSACK)
	s.expectBlocks("held", s.inOut(101, 1, wire.ACK, stream(100, 100)), 101, 201)
	s.c.dropHeld()
	s.expectBlocks("dropped", s.inOut(301, 1, wire.ACK, stream(300, 100)), 301, 401)
}

// TestSACKModel compares the blocks with a naive receiver that knows each byte.
func TestSACKModel(t *testing.T) {
	for seed := range uint64(15) {
		rng := rand.New(rand.NewPCG(seed, 6))
		s := established(t, withSACK)
		const size = 4000
		var have [size + 1]bool // by sequence number
		next := 1
		for range 300 {
			seq := 1 + rng.IntN(size-200)
			n := 1 + rng.IntN(150)
			dup := false
			for i := seq; i < seq+n; i++ {
				dup = dup || have[i]
				have[i] = true
			}
			for next <= size && have[next] {
				next++
			}
			out := s.inOut(seq, 1, wire.ACK, stream(seq-1, n))
			if len(out) == 0 {
				continue // in order, and delayed
			}
			b := s.blocks(out[0])
			if int(out[0].Ack.Sub(s.irs)) != next {
				t.Fatalf("seed %d: ACK %d, want %d", seed, out[0].Ack.Sub(s.irs), next)
			}
			if dup {
				for i := b[0]; i < b[1]; i++ {
					if i < seq || i >= seq+n || !have[i] {
						t.Fatalf("seed %d: DSACK %v for [%d, %d)", seed, b[:2], seq, seq+n)
					}
				}
				b = b[2:]
			}
			for i := 0; i < len(b); i += 2 {
				lo, hi := b[i], b[i+1]
				if lo <= next || hi <= lo || have[lo-1] || have[hi] {
					t.Fatalf("seed %d: block [%d, %d) does not reach from gap to gap", seed, lo, hi)
				}
				for k := lo; k < hi; k++ {
					if !have[k] {
						t.Fatalf("seed %d: block [%d, %d) without byte %d", seed, lo, hi, k)
					}
				}
			}
			if seq > next && (b[0] > seq || b[1] < seq+n) {
				t.Fatalf("seed %d: first block %v does not have [%d, %d)", seed, b[:2], seq, seq+n)
			}
			s.received()
		}
		if s.sh.Stats.OutOfOrder == 0 {
			t.Fatal("nothing out of order")
		}
	}
}
