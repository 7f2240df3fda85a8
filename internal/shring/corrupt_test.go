package shring

import (
	"errors"
	"sync/atomic"
	"testing"
)

// TestCorruptConsumerIndex gives a producer peers that lie: the ring must look no freer than it was known to be, say
// so, and work on once the peer is right again.
func TestCorruptConsumerIndex(t *testing.T) {
	for name, start := range starts {
		for _, tc := range []struct {
			name string
			lie  uint32 // relative to start; the ring of 8 holds entries 2 to 7 then
		}{
			{"backwards", 1},
			{"before the ring", 1<<32 - 1},
			{"beyond what was published", 11},
			{"far beyond", 1 << 20},
			{"half the number space away", 1 << 31},
		} {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				p, c, w := ends(t, 8, start)
				p.Submit(8)
				c.Peek(2)
				c.Release(2)
				if n := p.InFlight(); n != 6 {
					t.Fatalf("InFlight %d, want 6", n)
				}

				atomic.StoreUint32(w.Consumer, start+tc.lie)
				if at, got := p.Reserve(8); at != start+8 || got != 2 {
					t.Errorf("reserved %d from %d, want the 2 known from %d", got, at, start+8)
				}
				if p.Corruptions() != 1 {
					t.Errorf("%d corruptions counted, want 1", p.Corruptions())
				}
				var ce *CorruptError
				if err := p.Err(); !errors.Is(err, ErrCorrupt) || !errors.As(err, &ce) {
					t.Fatalf("Err is %v", err)
				}
				if want := (CorruptError{Seen: start + tc.lie, Low: start + 2, High: start + 8}); *ce != want {
					t.Errorf("error is %+v, want %+v", *ce, want)
				}
				p.Submit(2)
				if _, got := p.Reserve(1); got != 0 || p.InFlight() != 8 {
					t.Errorf("reserved %d with %d in flight of 8", got, p.InFlight())
				}

				atomic.StoreUint32(w.Consumer, start+10)
				if at, got := p.Reserve(8); at != start+10 || got != 8 {
					t.Errorf("after recovery: reserved %d from %d, want 8 from %d", got, at, start+10)
				}
			})
		}
	}
}

// TestCorruptProducerIndex is the same for a consumer.
func TestCorruptProducerIndex(t *testing.T) {
	for name, start := range starts {
		for _, tc := range []struct {
			name string
			lie  uint32 // relative to start; the ring of 8 holds entries 2 to 5 then
		}{
			{"backwards", 5},
			{"behind ourselves", 1},
			{"more than the ring holds", 15},
			{"far beyond", 1 << 20},
			{"half the number space away", 1 << 31},
		} {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				p, c, w := ends(t, 8, start)
				p.Submit(6)
				c.Peek(2)
				c.Release(2)

				atomic.StoreUint32(w.Producer, start+tc.lie)
				if at, got := c.Peek(8); at != start+2 || got != 4 {
					t.Errorf("peeked %d from %d, want the 4 known from %d", got, at, start+2)
				}
				if c.Corruptions() != 1 {
					t.Errorf("%d corruptions counted, want 1", c.Corruptions())
				}
				var ce *CorruptError
				if err := c.Err(); !errors.Is(err, ErrCorrupt) || !errors.As(err, &ce) {
					t.Fatalf("Err is %v", err)
				}
				if want := (CorruptError{Seen: start + tc.lie, Low: start + 6, High: start + 10}); *ce != want {
					t.Errorf("error is %+v, want %+v", *ce, want)
				}
				c.Release(4)
				if _, got := c.Peek(1); got != 0 {
					t.Errorf("peeked %d of an emptied ring", got)
				}

				atomic.StoreUint32(w.Producer, start+9)
				if at, got := c.Peek(8); at != start+6 || got != 3 {
					t.Errorf("after recovery: peeked %d from %d, want 3 from %d", got, at, start+6)
				}
			})
		}
	}
}

// TestOwnWordOverwritten shows that a peer that writes our index gets nowhere: we never read it back.
func TestOwnWordOverwritten(t *testing.T) {
	p, c, w := ends(t, 8, 0)
	atomic.StoreUint32(w.Producer, 77)
	if at, got := p.Reserve(8); at != 0 || got != 8 {
		t.Errorf("reserved %d from %d, want 8 from 0", got, at)
	}
	p.Submit(4)
	if *w.Producer != 4 {
		t.Errorf("producer word is %d, want 4", *w.Producer)
	}
	c.Peek(4)
	atomic.StoreUint32(w.Consumer, 77)
	c.Release(4)
	if *w.Consumer != 4 || p.InFlight() != 0 {
		t.Errorf("consumer word is %d with %d in flight, want 4 and 0", *w.Consumer, p.InFlight())
	}
}

// FuzzHostilePeer drives both sides over words that the fuzzer rewrites at will. Whatever it does, no window may
// reach outside what this side owns: at most Size entries, and a position that only its own Submit or Release moves.
func FuzzHostilePeer(f *testing.F) {
	f.Add(uint32(0), []byte{0, 8, 1, 8, 2, 8, 3, 8})
	f.Add(uint32(1<<32-3), []byte{0, 8, 4, 200, 0, 8, 5, 1, 2, 8, 3, 4})
	f.Add(uint32(1<<31), []byte{4, 0, 4, 255, 5, 128, 0, 1, 2, 1})
	f.Fuzz(func(t *testing.T, start uint32, ops []byte) {
		const size = 8
		prodWords, consWords := newWords(size, start), newWords(size, start)
		p, err := NewProducer(prodWords)
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewConsumer(consWords)
		if err != nil {
			t.Fatal(err)
		}
		tail, head := start, start
		var free, ready uint32 = size, 0
		for ; len(ops) >= 2; ops = ops[2:] {
			arg := uint32(ops[1])
			switch ops[0] % 6 {
			case 0:
				at, got := p.Reserve(arg)
				if at != tail || got > min(arg, size) {
					t.Fatalf("Reserve(%d) gave %d from %d, tail is %d", arg, got, at, tail)
				}
				if got < min(arg, free) {
					t.Fatalf("Reserve(%d) gave %d where %d were free before", arg, got, free)
				}
				free = max(free, got)
			case 1:
				n := min(arg, free)
				p.Submit(n)
				tail, free = tail+n, free-n
			case 2:
				at, got := c.Peek(arg)
				if at != head || got > min(arg, size) {
					t.Fatalf("Peek(%d) gave %d from %d, head is %d", arg, got, at, head)
				}
				if got < min(arg, ready) {
					t.Fatalf("Peek(%d) gave %d where %d were ready before", arg, got, ready)
				}
				ready = max(ready, got)
			case 3:
				n := min(arg, ready)
				c.Release(n)
				head, ready = head+n, ready-n
			case 4: // small lies around the truth, and large ones
				*prodWords.Consumer = tail - size + arg*arg*arg
			case 5:
				*consWords.Producer = head + arg*arg*arg
			}
			if n := p.InFlight(); n > size {
				t.Fatalf("InFlight %d of %d", n, size)
			}
			if n := c.Ready(); n > size {
				t.Fatalf("Ready %d of %d", n, size)
			}
		}
	})
}
