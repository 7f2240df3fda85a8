package buf

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestModel makes random calls, of one goroutine, and compares each result, and
// now and then everything, with the model. The small pool lives in exhaustion;
// the large one fills its recycle ring over.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		buffers, ops int
		seed         uint64
	}{
		{1, 100_000, 1},
		{40, 700_000, 2},
		{300, 700_000, 3},
		{3000, 1_500_000, 4},
	} {
		t.Run(fmt.Sprintf("%d buffers", c.buffers), func(t *testing.T) {
			runModel(t, c.buffers, scale(c.ops), c.seed)
		})
	}
}

// A run is a pool, its model, and the references that are out.
type run struct {
	*testing.T
	p   *Pool
	m   *model
	rnd *rand.Rand

	kernel []Frag // one for each kernel reference
	user   []Iov  // one for each iov that is out, or was stolen by a stale return
	stale  []Iov  // copies of iovs that were returned

	accounts [4]Account
	held     [4]int
	ops      int
}

func runModel(t *testing.T, buffers, ops int, seed uint64) {
	r := &run{T: t, p: newPool(t, buffers), m: newModel(buffers), rnd: rand.New(rand.NewPCG(seed, 0))}
	drained := 0
	r.p.OnNotice(func() {})
	bias := 0 // towards taking or towards giving back, by turns
	for r.ops < ops {
		if r.rnd.IntN(2000) == 0 {
			bias = r.rnd.IntN(5) - 2
		}
		switch k := r.rnd.IntN(10) + bias; {
		case k <= 2:
			r.alloc()
		case k <= 3:
			r.get()
		case k <= 4:
			r.give()
		case k <= 6:
			r.put()
		case k <= 8:
			r.giveBack()
		default:
			r.hostile()
		}
		if r.p.Free() != r.m.free() {
			t.Fatalf("op %d: %d free, model %d", r.ops, r.p.Free(), r.m.free())
		}
		if r.rnd.IntN(500) == 0 {
			r.compare()
			n, _ := r.p.TakeNotice()
			if drained += int(n.Drained); drained != r.m.drained {
				t.Fatalf("op %d: notices count %d drained, model %d", r.ops, drained, r.m.drained)
			}
		}
	}
	for len(r.kernel) > 0 {
		r.put()
	}
	for len(r.user) > 0 {
		r.giveBack()
	}
	r.compare()
	if r.p.Free() != buffers {
		t.Fatalf("%d of %d buffers are free when all came back", r.p.Free(), buffers)
	}
	if r.m.episodes == 0 || buffers > recycleSize && ops > 50_000 && r.p.free.pushed.Load() == 0 {
		t.Fatalf("%d episodes, %d overflows: the test did not get there", r.m.episodes, r.p.free.pushed.Load())
	}
}

func (r *run) compare() {
	r.Helper()
	if err := r.m.compare(r.p); err != nil {
		r.Fatalf("op %d: %v", r.ops, err)
	}
	for i := range r.held {
		if r.accounts[i].Held() != r.held[i] {
			r.Fatalf("op %d: account %d holds %d, model %d", r.ops, i, r.accounts[i].Held(), r.held[i])
		}
	}
}

// take removes and returns a random element.
func take[T any](rnd *rand.Rand, s *[]T) T {
	i, last := rnd.IntN(len(*s)), len(*s)-1
	v := (*s)[i]
	(*s)[i] = (*s)[last]
	*s = (*s)[:last]
	return v
}

func (r *run) alloc() {
	dst := make([]uint16, 1+r.rnd.IntN(min(200, len(r.m.user))))
	got := dst[:r.p.Alloc(dst)]
	if want := r.m.alloc(len(dst)); !slices.Equal(sorted(slices.Clone(got)), sorted(want)) {
		r.Fatalf("op %d: Alloc of %d gave %v, model %v", r.ops, len(dst), got, want)
	}
	for _, b := range got {
		if a := r.rnd.IntN(2 * len(r.held)); a < len(r.held) {
			if f := []Frag{r.p.Frag(b, 0, 1)}; a%2 == 0 {
				r.p.ChargeFrags(f, &r.accounts[a])
			} else {
				r.p.Charge(b, &r.accounts[a])
			}
			r.m.owner[b] = &r.held[a]
			r.held[a]++
		}
		r.kernel = append(r.kernel, r.p.Frag(b, r.rnd.IntN(100), r.rnd.IntN(1000)))
	}
	r.ops += 1 + len(got)
}

func (r *run) get() {
	if r.ops++; len(r.kernel) == 0 {
		return
	}
	f := r.kernel[r.rnd.IntN(len(r.kernel))]
	if err := r.p.Get(f); err != nil {
		r.Fatal(err)
	}
	r.m.kernel[f.buffer]++
	r.kernel = append(r.kernel, f)
}

// give gives to the application, with the kernel reference or beside it.
func (r *run) give() {
	if r.ops++; len(r.kernel) == 0 {
		return
	}
	i := r.rnd.IntN(len(r.kernel))
	f := r.kernel[i]
	var v Iov
	if r.rnd.IntN(3) == 0 {
		if err := r.p.GiveUser(f.Slice(0, f.Len()/2), &v); err != nil {
			r.Fatal(err)
		}
	} else {
		if err := r.p.HandOver(f, &v); err != nil {
			r.Fatal(err)
		}
		r.m.kernel[f.buffer]--
		r.kernel = slices.Delete(r.kernel, i, i+1)
	}
	r.m.user[f.buffer]++
	r.user = append(r.user, v)
}

func (r *run) put() {
	for range r.rnd.IntN(40) {
		if r.ops++; len(r.kernel) == 0 {
			return
		}
		f := take(r.rnd, &r.kernel)
		r.p.Put(f.buffer)
		r.m.put(f.buffer)
	}
}

// giveBack returns a batch of what is out and, where that does not panic, of
// what is not: all that the application might hold, in any order.
func (r *run) giveBack() {
	r.ops++
	var batch []Iov
	for range r.rnd.IntN(100) {
		if len(r.user) > 0 {
			batch = append(batch, take(r.rnd, &r.user))
		}
		if r.rnd.IntN(10) == 0 {
			batch = append(batch, r.forged())
		}
	}
	r.ret(batch)
}

func (r *run) hostile() {
	r.ops++
	var batch []Iov
	for range r.rnd.IntN(20) {
		batch = append(batch, r.forged())
	}
	r.ret(batch)
}

// forged is an iov that the application does not hold.
func (r *run) forged() (v Iov) {
	if len(r.stale) > 0 && !Invariants {
		v = r.stale[r.rnd.IntN(len(r.stale))]
	}
	n := uint16(len(r.m.user))
	switch r.rnd.IntN(8) {
	case 0:
		return Iov{}
	case 1:
		v.frag.region = r.p.Region().ID()
		v.frag.buffer = n + uint16(r.rnd.IntN(1<<16-int(n)))
	case 2:
		v.frag.region = r.p.Region().ID() + 1 + uint16(r.rnd.IntN(1<<16-1))
	case 3:
		if !Invariants {
			v.frag.gen += uint32(r.rnd.IntN(3))
		}
	}
	return v
}

func (r *run) ret(batch []Iov) {
	given := slices.Clone(batch)
	want := 0
	accept := make([]bool, len(batch))
	for i, v := range given {
		if accept[i] = r.m.ret(v.frag, r.p.Region().ID()); accept[i] {
			want++
		}
	}
	n, err := r.p.Return(batch)
	if n != want || (err == nil) != (want == len(batch)) {
		r.Fatalf("op %d: Return of %d accepted %d, %v; model %d", r.ops, len(batch), n, err, want)
	}
	for i := range batch {
		if accept[i] != (batch[i].frag == Frag{}) && given[i].frag != (Frag{}) {
			r.Fatalf("op %d: iov %d %+v, accepted %v", r.ops, i, batch[i].frag, accept[i])
		}
	}
	if len(r.stale) > 5000 {
		r.stale = slices.Delete(r.stale, 0, 2500)
	}
	r.stale = append(r.stale, given...)
	r.ops += len(batch)
}
