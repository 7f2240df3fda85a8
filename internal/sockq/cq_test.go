package sockq

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// newSources makes n sources, armed on cq with their numbers.
func newSources(cq *CQ, n int) []*Source {
	s := make([]*Source, n)
	for i := range s {
		s[i] = &Source{Owner: i}
		s[i].Arm(cq, uint64(i))
	}
	return s
}

// next is the numbers of the sources that one Next visits, at most max.
func next(t *testing.T, cq *CQ, max int) (got []int) {
	t.Helper()
	err := cq.Next(func(s *Source) (again, more bool) {
		got = append(got, int(s.UserData()))
		if s.Owner != int(s.UserData()) {
			t.Errorf("source %d has owner %v", s.UserData(), s.Owner)
		}
		return false, len(got) < max
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestCQRaisesOnce: however much arrives for however many sources, each is
// visited once, in the order in which they were raised.
func TestCQRaisesOnce(t *testing.T) {
	cq := NewCQ()
	const n = 1000
	s := newSources(cq, n)
	var want []int
	for round := range 3 {
		for i := range n {
			k := (i*7 + round) % n
			if round == 0 {
				want = append(want, k)
			}
			s[k].Raise()
		}
	}
	if got := next(t, cq, n+1); !slices.Equal(got, want) {
		t.Fatalf("visited %d sources, %v...", len(got), got[:min(len(got), 10)])
	}
	// What was visited can be raised again, what was not has gone nowhere.
	s[5].Raise()
	s[5].Raise()
	s[3].Raise()
	if got := next(t, cq, 10); !slices.Equal(got, []int{5, 3}) {
		t.Fatalf("visited %v", got)
	}
}

// TestCQKeepsWhatHadNoRoom: a consumer with room for some takes the others next
// time, before what is raised later.
func TestCQKeepsWhatHadNoRoom(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 10)
	for i := range 5 {
		s[i].Raise()
	}
	if got := next(t, cq, 2); !slices.Equal(got, []int{0, 1}) {
		t.Fatal(got)
	}
	for i := range 10 { // 2 to 4 are linked still
		s[9-i].Raise()
	}
	if got := next(t, cq, 4); !slices.Equal(got, []int{2, 3, 4, 9}) {
		t.Fatal(got)
	}
	if got := next(t, cq, 100); !slices.Equal(got, []int{8, 7, 6, 5, 1, 0}) {
		t.Fatal(got)
	}
}

// TestCQIsFair: a source that always has more is visited once a round, and every
// other one in between.
func TestCQIsFair(t *testing.T) {
	for _, room := range []int{1, 3, 100} {
		cq := NewCQ()
		s := newSources(cq, 20)
		left := make([]int, 20)
		for i := range s {
			left[i] = 2
			s[i].Raise()
		}
		left[0] = 1 << 30 // busy
		visits := make([]int, 20)
		for sum(left[1:]) > 0 {
			n := 0
			if err := cq.Next(func(s *Source) (again, more bool) {
				i := s.Owner.(int)
				visits[i]++
				left[i]--
				n++
				return left[i] > 0, n < room
			}); err != nil {
				t.Fatal(err)
			}
		}
		if visits[0] > 3 {
			t.Errorf("room %d: the busy source was visited %d times while each other one was twice", room, visits[0])
		}
		for i, v := range visits[1:] {
			if v != 2 {
				t.Errorf("room %d: source %d was visited %d times", room, i+1, v)
			}
		}
	}
}

func sum(s []int) (n int) {
	for _, v := range s {
		n += v
	}
	return n
}

// TestCQAgainAndRaisedIsOnce: a source that is kept for more and raised
// meanwhile is linked once.
func TestCQAgainAndRaisedIsOnce(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 1)[0]
	s.Raise()
	if err := cq.Next(func(*Source) (again, more bool) {
		s.Raise()
		return true, true
	}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, cq, 10); !slices.Equal(got, []int{0}) {
		t.Fatalf("visited %v", got)
	}
	if cq.collect() {
		t.Fatal("linked twice")
	}
}

// TestCQRaisedWhileVisited: what is published when the consumer has looked is
// not missed.
func TestCQRaisedWhileVisited(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 1)[0]
	s.Raise()
	if err := cq.Next(func(*Source) (again, more bool) {
		s.Raise()
		return false, true
	}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, cq, 10); !slices.Equal(got, []int{0}) || cq.collect() {
		t.Fatalf("visited %v", got)
	}
}

func TestCQDisarm(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 3)
	for _, s := range s {
		s.Raise()
	}
	if !s[1].Disarm() || s[1].Armed() || !s[0].Armed() {
		t.Fatal("Disarm")
	}
	if got := next(t, cq, 10); !slices.Equal(got, []int{0, 2}) {
		t.Fatalf("visited %v", got)
	}
	s[1].Raise()
	if cq.collect() {
		t.Fatal("raised though not armed")
	}
	// Armed again, it completes again.
	s[1].Arm(cq, 1)
	s[1].Raise()
	if got := next(t, cq, 10); !slices.Equal(got, []int{1}) {
		t.Fatalf("visited %v", got)
	}
	// Disarmed and armed again while linked: visited, with the new number.
	s[1].Raise()
	s[1].Disarm()
	s[1].Arm(cq, 7)
	s[1].Owner = 7
	if got := next(t, cq, 10); !slices.Equal(got, []int{7}) {
		t.Fatalf("visited %v", got)
	}
}

// TestCQWakesOncePerBatch: the consumer sleeps while sources are raised, and one
// Flush shows it all of them.
func TestCQWakesOncePerBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cq := NewCQ()
		s := newSources(cq, 1000)
		calls := make(chan []int)
		go func() {
			defer close(calls)
			for {
				var got []int
				err := cq.Next(func(s *Source) (again, more bool) {
					got = append(got, s.Owner.(int))
					return false, true
				})
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("Next: %v", err)
					}
					return
				}
				calls <- got
			}
		}()
		for range 3 {
			synctest.Wait()
			cq.Flush() // nothing is there: nobody is woken
			for range 4 {
				for _, s := range s {
					s.Raise()
				}
			}
			synctest.Wait()
			select {
			case <-calls:
				t.Fatal("woken before Flush")
			default:
			}
			cq.Flush()
			cq.Flush()
			if got := <-calls; len(got) != len(s) {
				t.Fatalf("one wake, %d sources of %d", len(got), len(s))
			}
		}
		synctest.Wait()
		cq.Close()
		if got, ok := <-calls; ok {
			t.Fatalf("visited %v after Close", got)
		}
	})
}

func TestCQDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cq := NewCQ()
		cq.SetDeadline(time.Now().Add(time.Minute))
		none := func(*Source) (bool, bool) { t.Error("visited"); return false, false }
		if err := cq.Next(none); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		cq.SetDeadline(time.Time{})
		s := newSources(cq, 1)[0]
		s.Raise()
		if got := next(t, cq, 1); len(got) != 1 {
			t.Fatal(got)
		}
	})
}
