package buf

import "testing"

// TestAccounts follows buffers charged one by one and together: each counts
// until it is free, whoever frees it, and those that nobody is charged for count
// for nobody.
func TestAccounts(t *testing.T) {
	p := newPool(t, 8)
	var a, b Account
	want := func(step string, na, nb int) {
		t.Helper()
		if a.Held() != na || b.Held() != nb {
			t.Fatalf("%s: held %d and %d, want %d and %d", step, a.Held(), b.Held(), na, nb)
		}
	}
	ids := alloc(t, p, 8)
	var frags []Frag
	for _, id := range ids {
		frags = append(frags, p.Frag(id, 0, 10))
	}
	p.ChargeFrags(frags[:3], &a)
	p.ChargeFrags(nil, &a)
	p.Charge(ids[3], &b)
	p.ChargeFrags(frags[4:6], &b)
	want("charged", 3, 3)
	wantCensus(t, p, Census{Driver: 2, Stack: 6})

	// A batch of both accounts' buffers and of nobody's, by turns.
	var iovs []Iov
	for _, i := range []int{0, 6, 3, 1, 4} {
		iovs = append(iovs, handOver(t, p, ids[i], 0, 10))
	}
	want("handed over", 3, 3)
	extra := giveUser(t, p, ids[2], 0, 10)
	giveBack(t, p, append(iovs, extra)...)
	want("returned", 1, 1)
	p.Put(ids[2])
	want("put", 0, 1)
	p.Put(ids[5])
	p.Put(ids[7])
	want("all put", 0, 0)

	// A buffer that was charged is not any more in its next life, and can be
	// charged to somebody else.
	ids = alloc(t, p, 8)
	wantCensus(t, p, Census{Driver: 8})
	for i, id := range ids {
		if i%2 == 0 {
			p.Charge(id, &b)
		}
	}
	want("next life", 0, 4)
	for _, id := range ids {
		p.Put(id)
	}
	want("all put again", 0, 0)
}

func TestChargedTwice(t *testing.T) {
	p := newPool(t, 2)
	var a, b Account
	ids := alloc(t, p, 2)
	p.Charge(ids[0], &a)
	for name, again := range map[string]func(){
		"by the same":  func() { p.Charge(ids[0], &a) },
		"by another":   func() { p.Charge(ids[0], &b) },
		"among others": func() { p.ChargeFrags([]Frag{p.Frag(ids[0], 0, 1)}, &b) },
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t, p, func() { wantPanic(t, "charged twice", again) })
		})
	}
	if a.Held() != 1 || b.Held() != 0 {
		t.Fatalf("held %d and %d", a.Held(), b.Held())
	}
	p.Put(ids[0])
	p.Put(ids[1])
}
