package buf

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// takeBack takes everything back that came back.
func takeBack(p *Pool) []uint16 {
	ids := make([]uint16, 2*p.region.Count())
	return ids[:p.TakeBack(ids)]
}

func land1(p *Pool, b uint16) error {
	_, err := p.Land([]Frag{Landed(b, 0, 1)})
	return err
}

func land(t testing.TB, p *Pool, b uint16) {
	t.Helper()
	if err := land1(p, b); err != nil {
		t.Fatal(err)
	}
}

func TestLentBuffersGoRound(t *testing.T) {
	p := newPool(t, 8)
	p.Lend(6)
	if c := census(t, p); c != (Census{Freelist: 2, Lent: 6}) {
		t.Fatalf("%+v", c)
	}
	if p.Free() != 2 || p.FreeLent() != 6 || p.Lent() != 6 {
		t.Fatalf("free %d, lent %d and %d free", p.Free(), p.Lent(), p.FreeLent())
	}
	land(t, p, 3)
	land(t, p, 5)
	if p.FreeLent() != 4 {
		t.Fatalf("%d lent free", p.FreeLent())
	}
	v := handOver(t, p, 3, 100, 50)
	if c := census(t, p); c != (Census{Freelist: 2, Lent: 4, Stack: 1, User: 1}) {
		t.Fatalf("%+v", c)
	}
	if got := takeBack(p); len(got) != 0 {
		t.Fatalf("%v came back, and is held", got)
	}
	old := v
	giveBack(t, p, v)
	p.Put(5)
	if got := takeBack(p); !slices.Equal(got, []uint16{3, 5}) {
		t.Fatalf("%v came back", got)
	}
	if got := takeBack(p); len(got) != 0 {
		t.Fatalf("%v came back twice", got)
	}
	refused(t, p, old, ErrStale)
}

// A device puts payload into a buffer again while the application holds, or has
// given back, what landed there first.
func TestLentBufferLandsAgain(t *testing.T) {
	p := newPool(t, 4)
	p.Lend(4)
	land(t, p, 1)
	first := handOver(t, p, 1, 0, 10)
	land(t, p, 1) // while it is held
	second := handOver(t, p, 1, 2048, 10)
	giveBack(t, p, first)
	if got := takeBack(p); len(got) != 0 {
		t.Fatalf("%v came back with an iov out", got)
	}
	giveBack(t, p, second) // it is in the fill ring now
	land(t, p, 1)
	third := handOver(t, p, 1, 0, 10)
	if got := takeBack(p); len(got) != 0 {
		t.Fatalf("%v came back that had landed again", got)
	}
	if third.frag.gen == first.frag.gen {
		t.Fatal("the same generation, after it was free")
	}
	giveBack(t, p, third)
	land(t, p, 1)
	giveBack(t, p, handOver(t, p, 1, 0, 10)) // free twice, and in the ring once
	if p.fill.len() != 1 {
		t.Fatalf("%d entries in the fill ring", p.fill.len())
	}
	if got := takeBack(p); !slices.Equal(got, []uint16{1}) {
		t.Fatalf("%v came back", got)
	}
	if p.FreeLent() != 4 {
		t.Fatalf("%d free", p.FreeLent())
	}
}

// Alloc and TakeBack share the fill ring, and each finds what is its own.
func TestLentBesideAllocated(t *testing.T) {
	p := newPool(t, 300)
	p.Lend(150)
	var iovs []Iov
	for _, b := range alloc(t, p, 150) {
		if p.isLent(b) {
			t.Fatalf("lent buffer %d allocated", b)
		}
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	for b := range uint16(150) {
		land(t, p, b)
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(iovs), func(i, j int) { iovs[i], iovs[j] = iovs[j], iovs[i] })
	giveBack(t, p, iovs...)
	ids := alloc(t, p, 100)
	p.Reclaim()
	if got := takeBack(p); len(got) != 150 {
		t.Fatalf("%d lent buffers came back", len(got))
	}
	ids = append(ids, alloc(t, p, 50)...)
	for _, b := range ids {
		p.Put(b)
	}
	if p.Free() != 150 || p.FreeLent() != 150 {
		t.Fatalf("%d and %d free", p.Free(), p.FreeLent())
	}
}

func TestLentExhaustionIsAnEpisode(t *testing.T) {
	p := newPool(t, 2)
	p.Lend(2)
	land(t, p, 0)
	p.Starved()
	p.Starved()
	if p.Exhaustions() != 1 {
		t.Fatalf("%d episodes", p.Exhaustions())
	}
	p.Put(0)
	takeBack(p)
	p.Starved()
	if p.Exhaustions() != 2 {
		t.Fatalf("%d episodes after relief", p.Exhaustions())
	}
}

func TestLentMisuse(t *testing.T) {
	p := newPool(t, 4)
	p.Lend(2)
	wantPanic(t, "not lent", func() { _ = land1(p, 2) })
	wantPanic(t, "beyond the buffer", func() { _, _ = p.Land([]Frag{Landed(1, 1, p.region.BufferSize())}) })
	wantPanic(t, "Lend of more", func() { p.Lend(1) })
	wantPanic(t, "without a kernel reference", func() { p.Put(0) })
	land(t, p, 0)
	wantPanic(t, "or lent", func() { p.Charge(0, new(Account)) })
	for range kernelMask - 1 {
		land(t, p, 0)
	}
	unchanged(t, p, func() {
		if err := land1(p, 0); !errors.Is(err, ErrOverflow) {
			t.Errorf("one reference too many: %v", err)
		}
	})
	for range kernelMask {
		p.Put(0)
	}
}

// A lender plays the device and the engine: what it has of each buffer are
// parts, each landed once and returned once.
type lender struct {
	p    *Pool
	free []uint16 // a part of a buffer that the device may fill, by buffer
	due  []int    // landed and not given back to the device, by buffer
	took int
}

const partsPerBuffer = 2

func newLender(p *Pool) *lender {
	l := &lender{p: p, due: make([]int, p.Lent())}
	for b := range uint16(p.Lent()) {
		for range partsPerBuffer {
			l.free = append(l.free, b)
		}
	}
	return l
}

// receive lands a part, if the device has one.
func (l *lender) receive(rnd *rand.Rand) (f Frag, ok bool, err error) {
	if len(l.free) == 0 {
		l.p.Starved()
		return Frag{}, false, nil
	}
	b := take(rnd, &l.free)
	l.due[b]++
	frags := []Frag{Landed(b, 0, stampLen)}
	n, err := l.p.Land(frags)
	return frags[0], n == 1, err
}

// refill gives the device what is due.
func (l *lender) refill() {
	var ids [16]uint16
	for {
		n := l.p.TakeBack(ids[:])
		if n == 0 {
			return
		}
		l.give(ids[:n])
	}
}

// give gives the device what is due for buffers that nobody holds.
func (l *lender) give(ids []uint16) {
	for _, b := range ids {
		for ; l.due[b] > 0; l.due[b]-- {
			l.free = append(l.free, b)
			l.took++
		}
	}
}

// TestLentConservation runs a device and applications against each other:
// everything that landed is given back to the device, exactly once, and never
// while somebody holds a reference to its buffer.
func TestLentConservation(t *testing.T) {
	for _, n := range []int{1, 3, 200} {
		p := newPool(t, n+1)
		p.Lend(n)
		l := newLender(p)
		p.OneThread(l.give)
		landings := scale(400_000)
		woken := make(chan struct{}, 1)
		p.OnReturn(func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
		iovs := make(chan Iov, 64)
		var users sync.WaitGroup
		for i := range uint64(3) {
			users.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), i))
				var held []Iov
				flush := func() {
					if k, err := p.Return(held); k != len(held) || err != nil {
						t.Errorf("returned %d of %d: %v", k, len(held), err)
					}
					held = held[:0]
				}
				for {
					var v Iov
					var more bool
					select {
					case v, more = <-iovs:
					default:
						flush() // before it waits: the device may wait, too
						v, more = <-iovs
					}
					if !more {
						break
					}
					if held = append(held, v); len(held) > rnd.IntN(5) {
						flush()
					}
				}
				flush()
			})
		}
		rnd := rand.New(rand.NewPCG(uint64(n), 99))
		var queued []Frag
		for landed := 0; landed < landings; {
			f, ok, err := l.receive(rnd)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				p.PutFrags(queued)
				queued = queued[:0]
				p.WantReturn()
				if l.refill(); len(l.free) == 0 {
					<-woken
				}
				continue
			}
			landed++
			var v Iov
			switch rnd.IntN(6) {
			case 4, 5: // by a handler
				if err := p.HandOver(f, &v); err != nil {
					t.Fatal(err)
				}
				if k, err := p.ReturnHere([]Iov{v}); k != 1 || err != nil {
					t.Fatal(k, err)
				}
			case 0:
				queued = append(queued, f)
			case 1:
				p.Put(f.buffer)
			default:
				if err := p.HandOver(f, &v); err != nil {
					t.Fatal(err)
				}
				iovs <- v
			}
			if rnd.IntN(8) == 0 {
				l.refill()
			}
		}
		p.PutFrags(queued)
		close(iovs)
		users.Wait()
		l.refill()
		if len(l.free) != n*partsPerBuffer {
			t.Errorf("%d buffers: the device has %d parts, %d are missing", n, len(l.free), n*partsPerBuffer-len(l.free))
		}
		if p.FreeLent() != n || p.Free() != 1 {
			t.Errorf("%d buffers: %d lent and %d others are free", n, p.FreeLent(), p.Free())
		}
		if l.took < landings/10 {
			t.Errorf("%d buffers: only %d landings of %d came back", n, l.took, landings)
		}
	}
}

// Several threads of an engine land payload in the same buffers at once: none is lost
// to the count of those that are free.
func TestLandFromSeveralThreads(t *testing.T) {
	const lent, threads, times = 4, 4, 20_000
	p := newPool(t, 8)
	p.Lend(lent)
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() {
			for n := range times {
				b := uint16((i + n) % lent)
				if k, err := p.Land([]Frag{Landed(b, 0, 1)}); k != 1 || err != nil {
					t.Errorf("Land: %d, %v", k, err)
					return
				}
				if !p.Held(b) {
					t.Errorf("buffer %d is held by nobody", b)
				}
				p.Put(b)
			}
		})
	}
	wg.Wait()
	if n := p.FreeLent(); n != lent || p.Held(0) {
		t.Errorf("%d buffers are free, want %d; the first is held: %v", n, lent, p.Held(0))
	}
}

// Nudge makes the call that WantReturn has asked for, and only then.
func TestNudge(t *testing.T) {
	p := newPool(t, 8)
	calls := 0
	p.OnReturn(func() { calls++ })
	p.Nudge()
	p.WantReturn()
	p.Nudge()
	p.Nudge()
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}
