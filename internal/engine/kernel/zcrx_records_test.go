//go:build linux

package kernel

import (
	"slices"
	"testing"
)

// Each record makes one entry with its own token, whichever buffers come back,
// and a buffer that comes back twice makes none the second time.
func TestRecords(t *testing.T) {
	var r records
	r.init(4, 12)
	a, b := token{slot: 1}, token{slot: 2, gen: 3}
	const area = 5 << 48
	add := func(buffer uint16, off uint64, who token) { r.add(buffer, area|uint64(buffer)<<12|off, who) }
	take := func(buffer uint16) (tokens []uint64, owners []token) {
		for i := r.take(buffer); i != 0; i = r.drop(i) {
			tokens = append(tokens, r.all[i].token)
			owners = append(owners, r.all[i].owner)
		}
		return tokens, owners
	}
	add(0, 0, a)
	add(3, 100, a)
	add(3, 2000, b)
	add(3, 3000, a)
	if r.out != 2 || !r.shared {
		t.Errorf("%d buffers are out, shared %v", r.out, r.shared)
	}
	for _, c := range []struct {
		who    token
		buffer uint16
		want   bool
	}{{a, 0, true}, {b, 0, false}, {a, 3, true}, {b, 3, true}, {b, 1, false}, {token{slot: 2}, 3, false}} {
		if got := r.any(c.who, func(b uint16) bool { return b == c.buffer }); got != c.want {
			t.Errorf("any of %v in buffer %d: %v", c.who, c.buffer, got)
		}
	}
	got, owners := take(3)
	if want := []uint64{area | 3<<12 | 3000, area | 3<<12 | 2000, area | 3<<12 | 100}; !slices.Equal(got, want) {
		t.Errorf("tokens %#x, want %#x", got, want)
	}
	if want := []token{a, b, a}; !slices.Equal(owners, want) {
		t.Errorf("owners %v", owners)
	}
	if got, _ := take(3); got != nil {
		t.Errorf("%#x once more", got)
	}
	if got, _ := take(1); got != nil {
		t.Errorf("%#x of a buffer that was never out", got)
	}
	if r.out != 1 {
		t.Errorf("%d buffers are out", r.out)
	}
	// Used records are used again.
	for range 100 {
		add(2, 0, b)
		add(2, 9, a)
		take(2)
	}
	// One that is not used, one of each buffer's own, and two others were needed at a time.
	if n := len(r.all); n != 1+4+2 {
		t.Errorf("%d records for 4 at a time", n-1)
	}
	take(0)
	if r.out != 0 {
		t.Errorf("%d buffers are out", r.out)
	}
}

// A connection pays once for what lies in a row in one buffer of the kernel's,
// and is not alone there when another joins.
func TestRecordsPay(t *testing.T) {
	var r records
	r.init(1, 12) // one buffer of the region, of several of the kernel's
	a, b := token{slot: 1}, token{slot: 2}
	type joins struct {
		place uint64
		who   token
		pays  bool
		joins bool
	}
	for i, s := range []joins{
		{0, a, true, false},
		{100, a, false, false},
		{200, b, true, true},
		{300, b, false, false},
		{400, a, true, false}, // nobody is alone there any more
		{4096, a, true, false},
		{4196, a, false, false},
		{8192, b, true, false},
		{9000, a, true, true},
	} {
		pays, joined := r.add(0, s.place, s.who)
		if pays != s.pays || (joined != nil) != s.joins {
			t.Errorf("%d: pays %v, joins %v", i, pays, joined != nil)
		}
	}
	if r.out != 3 {
		t.Errorf("%d buffers of the kernel are out", r.out)
	}
	alone := 0
	for i := r.take(0); i != 0; i = r.drop(i) {
		if r.all[i].alone {
			alone++
		}
	}
	if alone != 1 || r.out != 0 {
		t.Errorf("%d buffers had one owner, %d are out", alone, r.out)
	}
}

// Many tiny pieces in one buffer cost their owner more than one.
func TestRecordsTiny(t *testing.T) {
	var r records
	r.init(1, 12)
	paid := 0
	for i := range uint64(1000) {
		if pays, _ := r.add(0, i, token{slot: 1}); pays {
			paid++
		}
	}
	if want := (1000 + maxShares - 1) / maxShares; paid != want || r.out != 1 {
		t.Errorf("paid for %d, want %d, with %d out", paid, want, r.out)
	}
}
