//go:build linux

package kernel

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// idleLoop is a loop that does not run: its state is the test's.
func idleLoop(t *testing.T, buffers, tails int) *loop {
	t.Helper()
	cfg := newConfig(t, buffers)
	tune := defaults(cfg, Options{})
	tune.tails = tails
	return newLoop(cfg, tune)
}

// begin gives s a buffer of its own with n bytes, as a receive does.
func begin(t *testing.T, l *loop, s *socket, n int) buf.Frag {
	t.Helper()
	var b [1]uint16
	if l.pool.Alloc(b[:]) != 1 {
		t.Fatal("no buffer is free")
	}
	f := l.own(s, b[0], n)
	l.openTail(s, f)
	return f
}

// Frags of a tail lie one behind the other in one buffer, which is charged once
// and free when all of them and the tail are gone.
func TestTail(t *testing.T) {
	l := idleLoop(t, 8, 4)
	var s socket
	size := l.pool.Region().BufferSize()
	frags := []buf.Frag{begin(t, l, &s, 100)}
	for _, n := range []int{1, 50, 1000} {
		copy(l.tailRoom(&s), at(0, n))
		frags = append(frags, l.extendTail(&s, n))
	}
	end := 0
	for _, f := range frags {
		if f.Buffer() != frags[0].Buffer() || f.Offset() != end || !f.Copied() {
			t.Errorf("frag %+v behind byte %d", f, end)
		}
		end += f.Len()
	}
	if got := len(l.tailRoom(&s)); got != size-end {
		t.Errorf("room for %d bytes, want %d", got, size-end)
	}
	if s.account.Held() != 1 {
		t.Errorf("%d buffers are charged", s.account.Held())
	}
	l.pool.PutFrags(frags)
	if s.account.Held() != 1 || l.pool.Free() != 7 {
		t.Error("the tail did not keep its buffer")
	}
	l.closeTail(&s)
	l.closeTail(&s)
	if s.account.Held() != 0 || l.pool.Free() != 8 || l.tailRoom(&s) != nil || l.tails.n != 0 {
		t.Errorf("a closed tail: %d held, %d free, %d open", s.account.Held(), l.pool.Free(), l.tails.n)
	}
}

// A tail ends when its buffer is nearly full, or is cut in enough pieces.
func TestTailEnds(t *testing.T) {
	l := idleLoop(t, 8, 4)
	var s socket
	size := l.pool.Region().BufferSize()

	frags := []buf.Frag{begin(t, l, &s, size-size/minRoom)}
	if l.tailRoom(&s) == nil {
		t.Error("the least room was not kept")
	}
	frags = append(frags, l.extendTail(&s, 1))
	if l.tailRoom(&s) != nil || l.tails.n != 0 {
		t.Error("less than the least room was kept")
	}
	f := begin(t, l, &s, size-1)
	if l.tailRoom(&s) != nil {
		t.Error("a tail with one byte of room was opened")
	}
	frags = append(frags, f, begin(t, l, &s, 1))
	for n := 2; n <= maxShares; n++ {
		if l.tailRoom(&s) == nil {
			t.Fatalf("the tail ended after %d frags", n-1)
		}
		frags = append(frags, l.extendTail(&s, 1))
	}
	if l.tailRoom(&s) != nil {
		t.Errorf("the tail goes on after %d frags", maxShares)
	}
	if held := s.account.Held(); held != 3 {
		t.Errorf("%d buffers are charged, want 3", held)
	}
	l.pool.PutFrags(frags)
	if l.pool.Free() != 8 {
		t.Errorf("%d buffers are free, want 8", l.pool.Free())
	}
}

// The tail that was used least lately makes room for a new one.
func TestTailsAreBounded(t *testing.T) {
	l := idleLoop(t, 16, 3)
	socks := make([]socket, 5)
	var frags []buf.Frag
	for i := range 3 {
		frags = append(frags, begin(t, l, &socks[i], 10))
	}
	frags = append(frags, l.extendTail(&socks[0], 10)) // 1 is the oldest now
	frags = append(frags, begin(t, l, &socks[3], 10))
	frags = append(frags, l.extendTail(&socks[2], 10)) // then 0
	frags = append(frags, begin(t, l, &socks[4], 10))
	for i, open := range []bool{false, false, true, true, true} {
		if got := l.tailRoom(&socks[i]) != nil; got != open {
			t.Errorf("tail %d is open: %v, want %v", i, got, open)
		}
	}
	// A new tail replaces the socket's own first.
	frags = append(frags, begin(t, l, &socks[3], 10))
	if l.tails.n != 3 {
		t.Errorf("%d tails are open", l.tails.n)
	}
	l.closeTails()
	if l.tails.n != 0 || l.tails.newest != nil || l.tails.oldest != nil {
		t.Errorf("after closing all: %+v", l.tails)
	}
	l.pool.PutFrags(frags)
	if l.pool.Free() != 16 {
		t.Errorf("%d buffers are free, want 16", l.pool.Free())
	}
}

// What a socket may take, by what is free, what it holds and MaxHeld.
func TestCredit(t *testing.T) {
	for _, tc := range []struct {
		name                          string
		buffers, sockets, taken, held int // taken: by others
		maxHeld                       int
		want                          int
	}{
		{"alone", 100, 0, 0, 0, 0, 50},
		{"alone, at its share", 100, 0, 0, 50, 0, 0},
		{"others took most", 100, 0, 90, 0, 0, 5},
		{"over a share that has shrunk", 100, 0, 50, 40, 0, -15},
		{"MaxHeld", 100, 0, 0, 7, 10, 3},
		{"MaxHeld beyond the share", 100, 0, 90, 4, 50, 1},
		{"the last one, holding nothing", 100, 0, 99, 0, 0, 1},
		{"nothing free, holding nothing", 100, 0, 100, 0, 0, 1},
		{"a reserve for each socket", 100, 20, 0, 20, 0, 20},
		{"a reserve of a quarter at most", 100, 90, 0, 1, 0, 36},
		{"into the reserve, holding nothing", 100, 20, 85, 0, 0, 1},
		{"not into the reserve, holding one", 100, 20, 85, 1, 0, -3},
	} {
		l := idleLoop(t, tc.buffers, 1)
		l.maxHeld = tc.maxHeld
		l.table.used = tc.sockets
		var s, other socket
		var b [1]uint16
		var all []uint16
		for i := range tc.taken + tc.held {
			l.pool.Alloc(b[:])
			owner := &s
			if i >= tc.held {
				owner = &other
			}
			l.pool.Charge(b[0], &owner.account)
			all = append(all, b[0])
		}
		if got := l.credit(&s); got != tc.want {
			t.Errorf("%s: credit %d, want %d", tc.name, got, tc.want)
		}
		for _, id := range all {
			l.pool.Put(id)
		}
	}
}

// A token does not name the slot's next user.
func TestTable(t *testing.T) {
	var tab table
	socks := make([]socket, 4)
	for i := range 3 {
		tab.add(&socks[i])
	}
	old := socks[1].token
	tab.remove(&socks[1])
	if tab.find(old) != nil {
		t.Error("a removed socket is found")
	}
	tab.add(&socks[3])
	if socks[3].token.slot != old.slot || tab.find(old) != nil || tab.find(socks[3].token) != &socks[3] {
		t.Errorf("the slot's next user is %+v, the last was %+v", socks[3].token, old)
	}
	if tab.used != 3 || tab.find(socks[0].token) != &socks[0] || tab.find(token{slot: 99}) != nil {
		t.Errorf("%d sockets", tab.used)
	}
	// Generations come round.
	tab.gens[old.slot] = genMask
	tab.remove(&socks[3])
	if g := tab.gens[old.slot]; g != 0 {
		t.Errorf("generation %#x after the last", g)
	}
	if tab.find(bellToken) != nil {
		t.Error("the bell is a socket")
	}
}
