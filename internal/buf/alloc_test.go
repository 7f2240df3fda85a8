//go:build !invariants

package buf

import "testing"

// TestNoAllocations (but in builds that remember stacks): a buffer's whole life costs the Go heap nothing.
func TestNoAllocations(t *testing.T) {
	p := newPool(t, 3000)
	var (
		acct  Account
		ids   [64]uint16
		iovs  [2 * 64]Iov
		frags [64]Frag
	)
	p.OnNotice(func() {})
	p.OnReturn(func() {})
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"hand over and return", func() {
			for i, b := range ids[:p.Alloc(ids[:])] {
				p.Charge(b, &acct)
				_ = p.HandOver(p.Frag(b, 0, 4096), &iovs[i])
			}
			p.WantReturn()
			_, _ = p.Return(iovs[:len(ids)])
		}},
		{"in pieces", func() {
			for i, b := range ids[:p.Alloc(ids[:])] {
				f := p.Frag(b, 0, 4096)
				_ = p.GiveUser(f.Slice(0, 1000), &iovs[2*i])
				_ = p.HandOver(f.Slice(1000, 4096), &iovs[2*i+1])
			}
			_, _ = p.Return(iovs[:])
			p.TakeNotice()
		}},
		{"get and put", func() {
			for i, b := range ids[:p.Alloc(ids[:])] {
				frags[i] = p.Frag(b, 0, 4096)
				_ = p.Get(frags[i])
			}
			p.PutFrags(frags[:])
			p.PutFrags(frags[:])
		}},
		{"counts", func() { _ = p.Free() + int(p.Rejected()) + int(p.Exhaustions()) }},
	} {
		if n := testing.AllocsPerRun(200, c.f); n != 0 {
			t.Errorf("%s: %v allocations a run of 64 buffers", c.name, n)
		}
	}
}

// TestNoAllocationsInExhaustion: also when every place was empty and the
// recycle ring overflows.
func TestNoAllocationsInExhaustion(t *testing.T) {
	const n = recycleSize + 500
	p := newPool(t, n)
	ids := make([]uint16, n+1)
	if got := testing.AllocsPerRun(20, func() {
		for _, b := range ids[:p.Alloc(ids)] {
			p.Put(b)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if p.Exhaustions() == 0 || p.free.pushed.Load() == 0 {
		t.Fatal("the test did not get there")
	}
}
