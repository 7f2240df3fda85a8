//go:build interleave

package interleave_test

import (
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/interleave/sync"
	"github.com/zctap/zctap/internal/owned"
)

// Two goroutines of n operations each have (2n over n) orders: the explorer runs each once.
func TestInterleaveAllSchedules(t *testing.T) {
	orders := make(map[string]int)
	n, failure, _ := interleave.Search(t, 100, func(x *interleave.Execution) {
		var v atomic.Uint64
		var order strings.Builder
		for _, name := range []string{"a", "b"} {
			x.Go(name, func() {
				for range 4 {
					v.Load()
					order.WriteString(name)
				}
			})
		}
		x.Cleanup(func() { orders[order.String()]++ })
	})
	if n != 70 || failure != "" {
		t.Fatalf("%d schedules, want 70: %s", n, failure)
	}
	if len(orders) != 70 {
		t.Errorf("%d different ones", len(orders))
	}
}

// Each of these has a fault that needs so many preemptions, and must be found with these,
// not with fewer, and again by the schedule that is printed.
func TestInterleaveFinds(t *testing.T) {
	for _, c := range []struct {
		name        string
		preemptions int
		want        string
		body        func(x *interleave.Execution)
	}{
		{"lost update", 1, "the sum is 1", func(x *interleave.Execution) {
			var v atomic.Uint64
			for _, name := range []string{"a", "b"} {
				x.Go(name, func() { v.Store(v.Load() + 1) })
			}
			x.Cleanup(func() {
				if v.Load() != 2 {
					x.Errorf("the sum is %d", v.Load())
				}
			})
		}},
		{"seen in between", 2, "it was 1", func(x *interleave.Execution) {
			var v atomic.Uint32
			x.Go("a", func() {
				if v.Load() == 0 && v.CompareAndSwap(0, 1) {
					v.Store(0)
				}
			})
			x.Go("b", func() {
				was := v.Load()
				if v.CompareAndSwap(0, 2) && was == 1 {
					x.Fatal("it was 1")
				}
			})
		}},
		{"deadlock", 1, "all wait that have not ended: a, b", func(x *interleave.Execution) {
			var l, m sync.Mutex
			n := 0
			both := func(l, m *sync.Mutex) func() {
				return func() {
					l.Lock()
					defer l.Unlock()
					m.Lock()
					n++
					m.Unlock()
				}
			}
			x.Go("a", both(&l, &m))
			x.Go("b", both(&m, &l))
		}},
		{"lost wake", 1, "all wait that have not ended: waiter", func(x *interleave.Execution) {
			var ready, waiting atomic.Bool
			token := make(chan struct{}, 1)
			x.Go("waiter", func() {
				if !ready.Load() { // and not again behind the next line
					waiting.Store(true)
					interleave.Await(func() bool { return len(token) > 0 })
				}
			})
			x.Go("waker", func() {
				ready.Store(true)
				if waiting.Load() {
					token <- struct{}{}
				}
			})
		}},
		{"livelock", 0, "no end of a", func(x *interleave.Execution) {
			var v atomic.Bool
			x.Go("a", func() {
				for !v.Load() {
				}
			})
		}},
		{"panic", 0, "panic: oops", func(x *interleave.Execution) {
			x.Go("a", func() { panic("oops") })
		}},
		{"two owners", 0, "a word of its own", func(x *interleave.Execution) {
			var v atomic.Uint64
			x.Go("a", func() { owned.Store(&v, 0, 1) })
			x.Go("b", func() { v.CompareAndSwap(0, 2) })
		}},
		// Dekker's: with a store that waits in its processor both may pass.
		{"store buffer", 0, "both passed", func(x *interleave.Execution) {
			dekker(x, func(v *atomic.Uint64) { owned.Store(v, 0, 1) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.preemptions > 0 {
				if _, failure, _ := interleave.Search(t, c.preemptions-1, c.body); failure != "" {
					t.Fatalf("with %d preemptions: %s", c.preemptions-1, failure)
				}
			}
			_, failure, schedule := interleave.Search(t, c.preemptions, c.body)
			if !strings.Contains(failure, c.want) {
				t.Fatalf("found %q, want %q", failure, c.want)
			}
			first, _, _ := strings.Cut(failure, "\n")
			again, trace := interleave.Replay(t, schedule, c.body)
			if !strings.HasPrefix(again, first) {
				t.Errorf("%q in the schedule %q, and %q before:\n%s", again, schedule, failure, trace)
			}
		})
	}
}

func dekker(x *interleave.Execution, store func(v *atomic.Uint64)) {
	var flags [2]atomic.Uint64
	var passed [2]bool
	for i, name := range []string{"a", "b"} {
		x.Go(name, func() {
			store(&flags[i])
			passed[i] = flags[1-i].Load() == 0
		})
	}
	x.Cleanup(func() {
		if passed[0] && passed[1] {
			x.Error("both passed")
		}
	})
}

// What is right has no schedule that fails.
func TestInterleaveFindsNothing(t *testing.T) {
	for name, body := range map[string]func(x *interleave.Execution){
		"add": func(x *interleave.Execution) {
			var v atomic.Uint64
			for _, name := range []string{"a", "b", "c"} {
				x.Go(name, func() { v.Add(1) })
			}
			x.Cleanup(func() {
				if v.Load() != 3 {
					x.Error(v.Load())
				}
			})
		},
		"mutex": func(x *interleave.Execution) {
			var mu sync.Mutex
			sum := 0
			for _, name := range []string{"a", "b", "c"} {
				x.Go(name, func() {
					mu.Lock()
					v := sum
					interleave.Point("between")
					sum = v + 1
					mu.Unlock()
				})
			}
			x.Cleanup(func() {
				if sum != 3 {
					x.Error(sum)
				}
			})
		},
		"Dekker's, with atomic stores": func(x *interleave.Execution) {
			dekker(x, func(v *atomic.Uint64) { v.Store(1) })
		},
		"Dekker's, with barriers": func(x *interleave.Execution) {
			var barrier atomic.Uint64
			dekker(x, func(v *atomic.Uint64) {
				owned.Store(v, 0, 1)
				barrier.Add(0)
			})
		},
		"published": func(x *interleave.Execution) {
			var v, published atomic.Uint64
			x.Go("a", func() {
				owned.Store(&v, 0, 7)
				published.Store(1)
			})
			x.Go("b", func() {
				if published.Load() == 1 && v.Load() != 7 {
					x.Error("seen too early")
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) { interleave.Explore(t, 10, body) })
	}
}
