package buf

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestInvariant03_BytesStayWhileHeld runs an engine, taps and applications on
// one pool, as fast as they go. The engine stamps each buffer that it allocates;
// whoever holds a reference checks the stamp when it gets it and again before it
// gives it back, among forged, foreign and stale returns. In between, and at the
// end, every buffer must be free and every count zero (invariants 1, 2, 4, 5).
func TestInvariant03_BytesStayWhileHeld(t *testing.T) {
	for _, c := range []struct {
		name    string
		buffers int
		cycles  int // buffers allocated
	}{
		{"scarce", 48, 1_000_000},
		{"plenty", 2500, 1_000_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, other := newPool(t, c.buffers), newPool(t, 1)
			foreign := handOver(t, other, alloc(t, other, 1)[0], 0, 8)
			const phases = 4
			for phase := range uint64(phases) {
				stress(t, p, foreign, scale(c.cycles)/phases, phase)
				if c := census(t, p); c.Out() != 0 {
					t.Fatalf("phase %d: %+v", phase, c)
				}
			}
			wantRefs(t, other, foreign.frag.buffer, 0, 1)
			giveBack(t, other, foreign)
		})
	}
}

const stampLen = 128 // bytes of payload of each test buffer, the stamp over and over

// stamp is what the bytes of f must be.
func stamp(f Frag) uint64 {
	return 0x9E3779B97F4A7C15 * (uint64(f.gen)<<16 | uint64(f.buffer) + 1)
}

func checkStamp(t *testing.T, holder string, f Frag, view []byte) {
	want := stamp(f)
	for i := 0; i < len(view); i += 8 {
		if got := binary.LittleEndian.Uint64(view[i:]); got != want {
			t.Errorf("%s: buffer %d generation %d: bytes changed to %#x", holder, f.buffer, f.gen, got)
			return
		}
	}
}

// A parcel is the iovs of one buffer, on their way to an application.
type parcel struct {
	iovs [4]Iov
	n    int
}

// stresser is what one phase shares.
type stresser struct {
	*testing.T
	p       *Pool
	foreign Iov
	apps    chan parcel
	taps    chan Frag
	wake    chan struct{} // buffers came back, and the engine had asked
	hostile atomic.Uint64 // iovs returned that must be refused
	done    atomic.Bool
}

func stress(t *testing.T, p *Pool, foreign Iov, cycles int, seed uint64) {
	s := &stresser{T: t, p: p, foreign: foreign,
		apps: make(chan parcel, 8), taps: make(chan Frag, 4), wake: make(chan struct{}, 1)}
	p.OnReturn(func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	rejected := p.Rejected()
	var accounts [3]Account
	var users, watch sync.WaitGroup
	for i := range uint64(3) {
		users.Go(func() { s.application(rand.New(rand.NewPCG(seed, i))) })
	}
	users.Go(s.tap)
	watch.Go(s.watch)
	s.engine(rand.New(rand.NewPCG(seed, 99)), cycles, &accounts)
	close(s.apps)
	close(s.taps)
	users.Wait()
	s.done.Store(true)
	watch.Wait()
	if got := p.Rejected() - rejected; got != s.hostile.Load() {
		t.Fatalf("%d returns refused, want %d", got, s.hostile.Load())
	}
	for i := range accounts {
		if accounts[i].Held() != 0 {
			t.Fatalf("account %d holds %d buffers", i, accounts[i].Held())
		}
	}
}

func (s *stresser) engine(rnd *rand.Rand, cycles int, accounts *[3]Account) {
	p := s.p
	var stack []Frag // kernel references kept for later
	var ids [64]uint16
	for cycles > 0 {
		n := p.Alloc(ids[:1+rnd.IntN(len(ids))])
		if n == 0 {
			p.PutFrags(stack)
			stack = stack[:0]
			p.WantReturn()
			if n = p.Alloc(ids[:]); n == 0 {
				<-s.wake
				continue
			}
		}
		cycles -= n
		for _, b := range ids[:n] {
			off := 8 * rnd.IntN(400)
			f := p.Frag(b, off, stampLen)
			for m := p.Region().View(f); len(m) > 0; m = m[8:] {
				binary.LittleEndian.PutUint64(m, stamp(f))
			}
			if rnd.IntN(4) > 0 {
				p.Charge(b, &accounts[rnd.IntN(len(accounts))])
			}
			if rnd.IntN(8) == 0 {
				if err := p.Get(f); err != nil {
					s.Error(err)
				}
				s.taps <- f
			}
			stack = s.dispose(rnd, f, stack)
		}
		for len(stack) > 16 {
			f := take(rnd, &stack)
			checkStamp(s.T, "stack", f, p.Region().View(f))
			p.Put(f.buffer)
		}
	}
	p.PutFrags(stack)
}

// dispose does with the engine's reference to f one of the things that a stack
// does.
func (s *stresser) dispose(rnd *rand.Rand, f Frag, stack []Frag) []Frag {
	var c parcel
	give := func(f func(Frag, *Iov) error, part Frag) {
		if err := f(part, &c.iovs[c.n]); err != nil {
			s.Error(err)
		}
		c.n++
	}
	switch k := rnd.IntN(8); k {
	case 0: // dropped
		s.p.Put(f.buffer)
		return stack
	case 1, 2, 3: // in pieces
		for i := range k {
			give(s.p.GiveUser, f.Slice(i*16, i*16+16))
		}
		give(s.p.HandOver, f.Slice(k*16, f.Len()))
	case 4: // in part, the rest stays queued for a while
		give(s.p.GiveUser, f.Slice(0, 64))
		stack = append(stack, f)
	default: // whole
		give(s.p.HandOver, f)
	}
	s.apps <- c
	return stack
}

// application keeps iovs for a while, and returns them in batches of any size
// and order, with things in between that it should not.
func (s *stresser) application(rnd *rand.Rand) {
	var held, batch, stale []Iov
	giveBack := func(n int) {
		batch = batch[:0]
		good := 0
		for range n {
			batch = append(batch, take(rnd, &held))
			good++
			if rnd.IntN(16) == 0 {
				batch = append(batch, s.forged(rnd, stale))
				s.hostile.Add(1)
			}
		}
		for i := range batch {
			if v := &batch[i]; v.frag.region == s.p.Region().ID() && v.view != nil {
				checkStamp(s.T, "application", v.frag, v.view)
			}
		}
		if len(stale) > 100 {
			stale = stale[:0]
		}
		one := batch[rnd.IntN(len(batch))] // tells on a generation that is over, later
		if got, _ := s.p.Return(batch); got != good {
			s.Errorf("%d returns accepted, want %d", got, good)
		}
		// Only an iov that was its buffer's whole payload is sure to have freed
		// it: the copy of another one would stand for its siblings.
		if one.frag.Len() == stampLen {
			one.view = nil
			stale = append(stale, one)
		}
	}
	for c := range s.apps {
		for _, v := range c.iovs[:c.n] {
			checkStamp(s.T, "application", v.frag, v.view)
			held = append(held, v)
		}
		// Never keep so much that the engine starves for good.
		if len(held) > rnd.IntN(12) {
			giveBack(1 + rnd.IntN(len(held)))
		}
	}
	for len(held) > 0 {
		giveBack(1 + rnd.IntN(len(held)))
	}
}

// forged is an iov that must be refused. A stale one panics under -tags
// invariants, so there it is left out.
func (s *stresser) forged(rnd *rand.Rand, stale []Iov) Iov {
	id, n := s.p.Region().ID(), s.p.Region().Count()
	switch k := rnd.IntN(5); {
	case k == 0:
		return s.foreign
	case k == 1:
		return Iov{frag: Frag{bufferID: bufferID{id, uint16(n + rnd.IntN(2)*(1<<16-1-n))}}}
	case k >= 3 && len(stale) > 0 && !Invariants:
		return stale[rnd.IntN(len(stale))]
	}
	return Iov{}
}

func (s *stresser) tap() {
	var held []Frag
	for f := range s.taps {
		checkStamp(s.T, "tap", f, s.p.Region().View(f))
		if held = append(held, f); len(held) > 8 {
			held = s.tapped(held)
		}
	}
	s.tapped(held)
}

func (s *stresser) tapped(held []Frag) []Frag {
	for _, f := range held {
		checkStamp(s.T, "tap", f, s.p.Region().View(f))
	}
	s.p.PutFrags(held)
	return slices.Delete(held, 0, len(held))
}

// watch reads what may be read at any time.
func (s *stresser) watch() {
	n := s.p.Region().Count()
	for !s.done.Load() {
		if free := s.p.Free(); free < 0 || free > n {
			s.Errorf("Free is %d of %d", free, n)
			return
		}
	}
}
