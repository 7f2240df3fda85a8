//go:build linux

package uring

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNop(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		for i := range uint64(100) { // several times around both queues
			push(t, r, Nop(i))
			if c := expect(t, r, i, 0); c.More() || c.Extra != [2]uint64{} {
				t.Fatalf("completion %+v", c)
			}
		}
		if n := r.Ready(); n != 0 {
			t.Errorf("%d completions left", n)
		}
	})
}

// TestBatches fills the submission queue to the brim, again and again, with one system call each.
func TestBatches(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		var id, reaped uint64
		for range 50 {
			for range 8 {
				push(t, r, Nop(id))
				id++
			}
			if err := r.Push(Nop(id)); !errors.Is(err, ErrQueueFull) {
				t.Fatalf("push to a full queue: %v", err)
			}
			if err := r.PushTimeout(1, 0, id); !errors.Is(err, ErrQueueFull) {
				t.Fatalf("push to a full queue: %v", err)
			}
			if n := r.Pending(); n != 8 {
				t.Fatalf("%d pending, want 8", n)
			}
			if n, err := r.Enter(8, patience); n != 8 || err != nil {
				t.Fatalf("entered %d: %v", n, err)
			}
			if r.Pending() != 0 || r.Ready() != 8 {
				t.Fatalf("after Enter: %d pending, %d ready", r.Pending(), r.Ready())
			}
			var got [5]CQE // less than there are: Reap must go on where it left off
			for _, want := range []int{5, 3, 0} {
				n := r.Reap(got[:])
				if n != want {
					t.Fatalf("reaped %d, want %d", n, want)
				}
				for _, c := range got[:n] {
					if c.UserData != reaped {
						t.Fatalf("completion %d, want %d", c.UserData, reaped)
					}
					reaped++
				}
			}
		}
		if n, err := r.Submit(); n != 0 || err != nil {
			t.Errorf("submitting nothing: %d, %v", n, err)
		}
	})
}

// TestSubmitStopsAtBadRequest: without SUBMIT_ALL the kernel ends a batch at a request that it refuses at once. The rest
// stays queued and goes with the next call.
func TestSubmitStopsAtBadRequest(t *testing.T) {
	r := newRing(t, 8, Params{})
	push(t, r, Nop(1), SQE{Opcode: 255, UserData: 2}, Nop(3), Nop(4))
	if n, err := r.Submit(); n != 2 || err != nil {
		t.Fatalf("submitted %d: %v, want 2", n, err)
	}
	if n := r.Pending(); n != 2 {
		t.Fatalf("%d pending, want 2", n)
	}
	push(t, r, Nop(5))
	if n, err := r.Submit(); n != 3 || err != nil {
		t.Fatalf("submitted %d: %v, want 3", n, err)
	}
	expect(t, r, 1, 0)
	expect(t, r, 2, -int32(unix.EINVAL))
	expect(t, r, 3, 0)
	expect(t, r, 4, 0)
	expect(t, r, 5, 0)
}

// TestOverflow completes far more than the completion queue holds before it reaps any, and loses none.
func TestOverflow(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			v.p.CQEntries = 8
			r := newRing(t, 8, v.p)
			const total = 400
			pushed := uint64(0)
			for pushed < total {
				for range 8 {
					push(t, r, Nop(pushed))
					pushed++
				}
				if n, err := r.Enter(0, 0); n != 8 || err != nil && !Busy(err) {
					t.Fatalf("entered %d: %v", n, err)
				}
			}
			if !r.Overflowing() {
				t.Fatal("the queue does not overflow")
			}
			var reaped uint64
			var got [16]CQE
			for reaped < total {
				n := r.Reap(got[:])
				if n == 0 {
					t.Fatalf("nothing comes after %d completions of %d, overflowing is %v", reaped, total, r.Overflowing())
				}
				for _, c := range got[:n] {
					if c.UserData != reaped || c.Res != 0 {
						t.Fatalf("completion %d with %d, want %d with 0", c.UserData, c.Res, reaped)
					}
					reaped++
				}
				// Submit alone brings the rest over: the overflow flag makes it enter.
				if _, err := r.Submit(); err != nil && !Busy(err) {
					t.Fatal(err)
				}
			}
			if r.Overflowing() || r.Ready() != 0 {
				t.Errorf("after all: overflowing %v, %d ready", r.Overflowing(), r.Ready())
			}
			push(t, r, Nop(total))
			expect(t, r, total, 0)
		})
	}
}

func bigNop(userData uint64) SQE {
	sqe := Nop(userData)
	sqe.OpFlags, sqe.Off, sqe.Addr = nopCQE32, userData^0xa5a5, ^userData
	return sqe
}

// TestLargeCQEs has the kernel post 32 byte completions, in rings of them and mixed with small ones in every order, so
// that the gap at the end of the queue comes up too.
func TestLargeCQEs(t *testing.T) {
	for _, tc := range []struct {
		name  string
		flags SetupFlags
		large func(i uint64) bool
	}{
		{"all large", SetupCQE32, func(uint64) bool { return true }},
		{"mixed ring, all large", SetupCQEMixed, func(uint64) bool { return true }},
		{"mixed ring, alternating", SetupCQEMixed, func(i uint64) bool { return i%2 == 0 }},
		{"mixed ring, two of three", SetupCQEMixed, func(i uint64) bool { return i%3 != 0 }},
		{"mixed ring, one of five", SetupCQEMixed, func(i uint64) bool { return i%5 == 0 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRing(t, 8, Params{Flags: tc.flags | SetupSingleIssuer | SetupDeferTaskrun})
			var id, reaped uint64
			for range 60 {
				for range 1 + id%7 {
					if tc.large(id) {
						push(t, r, bigNop(id))
					} else {
						push(t, r, Nop(id))
					}
					id++
				}
				if _, err := r.Enter(1, patience); err != nil {
					t.Fatal(err)
				}
				var got [3]CQE
				next := func() []CQE {
					if id%2 == 0 {
						return got[:r.Reap(got[:])]
					}
					return r.Take(got[:])
				}
				for cqes := next(); len(cqes) > 0; cqes = next() {
					for _, c := range cqes {
						want := CQE{UserData: reaped}
						if tc.large(reaped) {
							want.Extra = [2]uint64{reaped ^ 0xa5a5, ^reaped}
						}
						if isLarge := c.Flags&CQE32 != 0; tc.flags == SetupCQEMixed && isLarge != tc.large(reaped) {
							t.Fatalf("completion %d: large is %v", reaped, isLarge)
						}
						c.Flags = 0
						if c != want {
							t.Fatalf("completion %+v, want %+v", c, want)
						}
						reaped++
					}
				}
				if reaped != id {
					t.Fatalf("%d completions of %d", reaped, id)
				}
			}
		})
	}
}

// What Take returns stays as it is until the next one, and the kernel puts nothing in its place.
func TestTakenStays(t *testing.T) {
	r := newRing(t, 8, Params{Flags: SetupCQE32 | SetupCQSize, CQEntries: 8})
	var room [16]CQE
	nops := func(from uint64) {
		for i := range uint64(8) {
			push(t, r, bigNop(from+i))
		}
		if n, err := r.Enter(0, 0); n != 8 || err != nil && !Busy(err) {
			t.Fatalf("entered %d: %v", n, err)
		}
	}
	check := func(cqes []CQE, from uint64) {
		t.Helper()
		if len(cqes) != 8 || cap(cqes) != 8 {
			t.Fatalf("%d completions, want 8", len(cqes))
		}
		for i := range cqes {
			if id := from + uint64(i); cqes[i].UserData != id || cqes[i].Extra[1] != ^id {
				t.Fatalf("completion %+v, want %d", cqes[i], id)
			}
		}
	}
	nops(100)
	cqes := r.Take(room[:])
	check(cqes, 100)
	nops(200)
	check(cqes, 100)
	if !r.Overflowing() {
		t.Fatal("the kernel has put completions somewhere")
	}
	if cqes := r.Take(room[:]); len(cqes) != 0 {
		t.Fatalf("%d completions in an empty queue", len(cqes))
	}
	if _, err := r.Submit(); err != nil && !Busy(err) {
		t.Fatal(err)
	}
	check(r.Take(room[:]), 200)
	// Reap, too, gives back what was taken.
	if n := r.Reap(room[:]); n != 0 || r.Ready() != 0 {
		t.Fatalf("%d completions, %d ready", n, r.Ready())
	}
	nops(300) // and once only
	if n := r.Reap(room[:]); n != 8 {
		t.Fatalf("%d completions, want 8", n)
	}
	check(room[:8:8], 300)
}

func TestNoAllocation(t *testing.T) {
	onVariants(t, 32, func(t *testing.T, r *Ring) {
		cqes := make([]CQE, 32)
		var failed error
		if n := testing.AllocsPerRun(200, func() {
			for i := range uint64(16) {
				if err := r.Push(Nop(i)); err != nil {
					failed = err
				}
			}
			if n, err := r.Enter(16, patience); n != 16 || err != nil {
				failed = errors.Join(err, errors.New("not all were submitted"))
			}
			if n := r.Reap(cqes); n != 16 {
				failed = errors.New("not all were reaped")
			}
			if err := r.PushTimeout(1, 0, 99); err != nil {
				failed = err
			}
			if _, err := r.Submit(); err != nil {
				failed = err
			}
			for r.Reap(cqes) == 0 {
				if _, err := r.Enter(1, patience); err != nil {
					failed = err
					break
				}
			}
			r.Stats()
		}); n != 0 {
			t.Errorf("%v allocations a round, want 0", n)
		}
		if failed != nil {
			t.Error(failed)
		}
	})
}

func BenchmarkNopBatch(b *testing.B) {
	r := newRing(b, 64, Params{Flags: SetupSingleIssuer | SetupDeferTaskrun})
	var cqes [64]CQE
	for b.Loop() {
		for i := range uint64(32) {
			push(b, r, Nop(i))
		}
		if _, err := r.Enter(32, -1); err != nil {
			b.Fatal(err)
		}
		if n := r.Reap(cqes[:]); n != 32 {
			b.Fatalf("reaped %d", n)
		}
	}
}
