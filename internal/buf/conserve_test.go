package buf

import (
	"sync"
	"testing"
)

func TestInvariant01_Conservation(t *testing.T) {
	const n = 3000 // more than cache, recycle ring and two batches together
	p := newPool(t, n)
	wantCensus(t, p, Census{Freelist: n})

	a := alloc(t, p, 1)[0]
	wantCensus(t, p, Census{Freelist: n - cacheSize, Cache: cacheSize - 1, Driver: 1})
	var acct Account
	p.Charge(a, &acct)
	wantCensus(t, p, Census{Freelist: n - cacheSize, Cache: cacheSize - 1, Stack: 1})
	u := giveUser(t, p, a, 0, 10)
	wantCensus(t, p, Census{Freelist: n - cacheSize, Cache: cacheSize - 1, Stack: 1})
	v := handOver(t, p, a, 10, 10)
	wantCensus(t, p, Census{Freelist: n - cacheSize, Cache: cacheSize - 1, User: 1})
	giveBack(t, p, u)
	wantCensus(t, p, Census{Freelist: n - cacheSize, Cache: cacheSize - 1, User: 1})
	if acct.Held() != 1 {
		t.Fatalf("account holds %d buffers while an iov is out, want 1", acct.Held())
	}
	giveBack(t, p, v)
	wantCensus(t, p, Census{Freelist: n - cacheSize, Cache: cacheSize - 1, FillRing: 1})
	if acct.Held() != 0 {
		t.Fatalf("account holds %d buffers when all are free", acct.Held())
	}

	// Everything out, and back by Put: what the recycle ring has no room for is
	// in the freelist.
	all := alloc(t, p, n)
	wantCensus(t, p, Census{Driver: n})
	if p.Alloc(make([]uint16, 1)) != 0 {
		t.Fatal("Alloc gave a buffer that does not exist")
	}
	for _, b := range all {
		p.Put(b)
	}
	wantCensus(t, p, Census{Recycle: recycleSize, Freelist: n - recycleSize})

	// Everything out, and back by Return.
	var iovs []Iov
	for _, b := range alloc(t, p, n) {
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	wantCensus(t, p, Census{User: n})
	giveBack(t, p, iovs...)
	wantCensus(t, p, Census{FillRing: n})
}

// TestCensusFindsDamage breaks a pool in each way that a census is to find:
// the checks that other tests rely on can fail.
func TestCensusFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(p *Pool){
		"in two places":       func(p *Pool) { p.fill.push([]uint16{p.free.ids[0]}) },
		"twice in one":        func(p *Pool) { p.free.ids[1] = p.free.ids[0] },
		"lost":                func(p *Pool) { p.free.ids = p.free.ids[1:] },
		"free and referenced": func(p *Pool) { p.words[p.free.ids[0]].Add(userOne) },
		"free and charged":    func(p *Pool) { p.words[p.free.ids[0]].Add(charged) },
		"in the cache too":    func(p *Pool) { p.cache = append(p.cache, p.free.ids[0]) },
		"in the recycle ring": func(p *Pool) { p.recycle.tryPush(p.free.ids[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t, 16)
			t.Cleanup(func() { freeRegion(t, r) })
			p := NewPool(r)
			census(t, p)
			damage(p)
			if c, err := p.Census(); err == nil {
				t.Fatalf("no error; %+v", c)
			}
		})
	}
}

func TestInvariant02_ReusableOnlyWithoutReferences(t *testing.T) {
	// Each case drops all references of the pool's only buffer, in one order;
	// the buffer must not be free before the last step.
	type refs struct {
		p *Pool
		b uint16
		v []Iov
	}
	put := func(_ *testing.T, r *refs) { r.p.Put(r.b) }
	ret := func(t *testing.T, r *refs) { giveBack(t, r.p, r.v[0]); r.v = r.v[1:] }
	for _, c := range []struct {
		name  string
		user  int // iovs made beside one kernel reference
		extra int // kernel references taken beside the first
		drop  []func(*testing.T, *refs)
	}{
		{"kernel only", 0, 0, []func(*testing.T, *refs){put}},
		{"kernel, then user", 1, 0, []func(*testing.T, *refs){put, ret}},
		{"user, then kernel", 1, 0, []func(*testing.T, *refs){ret, put}},
		{"two kernel", 0, 1, []func(*testing.T, *refs){put, put}},
		{"two user, kernel between", 2, 0, []func(*testing.T, *refs){ret, put, ret}},
		{"all mixed, kernel last", 2, 1, []func(*testing.T, *refs){ret, put, ret, put}},
		{"all mixed, user last", 2, 1, []func(*testing.T, *refs){put, ret, put, ret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, 1)
			r := &refs{p: p, b: alloc(t, p, 1)[0]}
			gen := p.Frag(r.b, 0, 0).Generation()
			for i := range c.user {
				r.v = append(r.v, giveUser(t, p, r.b, i, 1))
			}
			for range c.extra {
				if err := p.Get(p.Frag(r.b, 0, 1)); err != nil {
					t.Fatal(err)
				}
			}
			for i, drop := range c.drop {
				if p.Free() != 0 || p.Alloc(make([]uint16, 1)) != 0 {
					t.Fatalf("the buffer is free before step %d", i)
				}
				if g := generation(p.words[r.b].Load()); g != gen {
					t.Fatalf("generation %d before step %d, want %d", g, i, gen)
				}
				drop(t, r)
			}
			if g := generation(p.words[r.b].Load()); g != nextGeneration(p, gen) {
				t.Fatalf("generation %d when free, want %d", g, nextGeneration(p, gen))
			}
			p.Put(alloc(t, p, 1)[0])
		})
	}
}

// nextGeneration is what comes after gen for the only buffer of p, which is free: the next one of
// the other turn if it was returned last, of the same if it was put (turnGroup).
func nextGeneration(p *Pool, gen uint32) uint32 {
	if p.fill.len() == 1 {
		return gen + 1
	}
	return gen + 2
}

// TestInvariant02_ConcurrentLastReleases lets the last kernel reference and the
// last two user references race: exactly one of them frees the buffer.
func TestInvariant02_ConcurrentLastReleases(t *testing.T) {
	p := newPool(t, 1)
	rounds := scale(100_000)
	var acct Account
	release := make([]chan func(), 3)
	var released sync.WaitGroup
	for i := range release {
		release[i] = make(chan func())
		go func() {
			for f := range release[i] {
				f()
				released.Done()
			}
		}()
		defer close(release[i])
	}
	for i := range rounds {
		b := alloc(t, p, 1)[0]
		p.Charge(b, &acct)
		gen := p.Frag(b, 0, 0).Generation()
		u, v := giveUser(t, p, b, 0, 1), giveUser(t, p, b, 1, 1)
		released.Add(3)
		release[0] <- func() { p.Put(b) }
		for i, v := range []Iov{u, v} {
			release[1+i] <- func() {
				if n, err := p.Return([]Iov{v}); n != 1 || err != nil {
					t.Errorf("Return: %d, %v", n, err)
				}
			}
		}
		released.Wait()
		if g := generation(p.words[b].Load()); g != nextGeneration(p, gen) || p.Free() != 1 || acct.Held() != 0 {
			t.Fatalf("round %d: generation %d after %d, %d free, %d held", i, g, gen, p.Free(), acct.Held())
		}
	}
	c := census(t, p)
	if c.Out() != 0 {
		t.Fatalf("%+v", c)
	}
}
