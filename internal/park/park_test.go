package park

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A flag is something to wait for.
type flag struct {
	Parker
	up    atomic.Bool
	looks int // times that it was looked at; waiter
}

func newFlag() *flag {
	f := &flag{}
	f.Init(func() bool { f.looks++; return f.up.Load() })
	return f
}

func (f *flag) raise() bool {
	f.up.Store(true)
	return f.Unpark()
}

// parked starts a waiter, and returns when it waits. The channel gives what
// Park returns. Inside a synctest bubble.
func parked(t *testing.T, p *Parker) <-chan error {
	t.Helper()
	c := make(chan error, 1)
	go func() { c <- p.Park() }()
	stillParked(t, c)
	return c
}

func stillParked(t *testing.T, c <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-c:
		t.Fatalf("Park returned %v", err)
	default:
	}
}

// woken checks that the waiter has returned, without the clock moving on.
func woken(t *testing.T, c <-chan error, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-c:
		if !errors.Is(err, want) {
			t.Fatalf("Park returned %v, want %v", err, want)
		}
	default:
		t.Fatal("Park still waits")
	}
}

func TestParkDoesNotWaitForWhatIsThere(t *testing.T) {
	f := newFlag()
	if f.raise() {
		t.Error("Unpark woke a waiter that was not there")
	}
	for range 3 {
		if err := f.Park(); err != nil {
			t.Fatal(err)
		}
	}
	if f.looks != 3 {
		t.Errorf("looked %d times, want once a call", f.looks)
	}
	if f.token != nil {
		t.Error("there is a channel though nobody waited")
	}
}

func TestUnparkWakesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlag()
		c := parked(t, &f.Parker)
		f.up.Store(true)
		stillParked(t, c) // what is there is not noticed without Unpark
		wakes := 0
		for range 5 {
			if f.Unpark() {
				wakes++
			}
		}
		if wakes != 1 {
			t.Errorf("%d wakes of one waiter", wakes)
		}
		woken(t, c, nil)
	})
}

func TestUnparkForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlag()
		c := parked(t, &f.Parker)
		for range 3 { // each wake finds nothing, and the waiter waits again
			if !f.Unpark() {
				t.Fatal("Unpark did not find the waiter")
			}
			stillParked(t, c)
		}
		f.raise()
		woken(t, c, nil)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlag()
		c := parked(t, &f.Parker)
		if f.Closed() {
			t.Error("closed before Close")
		}
		f.Close()
		woken(t, c, net.ErrClosed)
		// For good, before anything that is ready, and more than once.
		f.raise()
		f.Close()
		f.SetDeadline(time.Now().Add(-1))
		for range 3 {
			if err := f.Park(); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("Park after Close: %v", err)
			}
		}
		if !f.Closed() {
			t.Error("not closed after Close")
		}
	})
}

// TestParkLooksTwice: what comes up right behind the first look, when the other
// side can't see a waiter yet, is seen by a second look.
func TestParkLooksTwice(t *testing.T) {
	p := &Parker{}
	up := false
	p.Init(func() bool {
		was := up
		up = true
		if !was && p.Unpark() {
			t.Error("woke a waiter that does not wait yet")
		}
		return was
	})
	if err := p.Park(); err != nil {
		t.Fatal(err)
	}
}

// TestStaleToken: a wake that comes as the waiter gives up by itself leaves no token
// for the next one.
func TestStaleToken(t *testing.T) {
	var p Parker
	looks := 0
	p.Init(func() bool {
		if looks++; looks == 2 && !p.Unpark() { // the waiter is about to wait
			t.Error("Unpark did not find the waiter")
		}
		return looks > 1
	})
	if err := p.Park(); err != nil {
		t.Fatal(err)
	}
	if len(p.token) != 0 {
		t.Error("a token is left")
	}
}

// TestNoLostWake counts up on one goroutine and follows on another that waits
// for each number: a lost wake would stop both. The deadline is a watchdog.
func TestNoLostWake(t *testing.T) {
	n := int64(300_000)
	if testing.Short() {
		n /= 10
	}
	var ball atomic.Int64
	sides := [2]*Parker{{}, {}}
	for i, p := range sides {
		p.Init(func() bool { return ball.Load()%2 == int64(i) || ball.Load() >= n })
		p.SetDeadline(time.Now().Add(2 * time.Minute))
		defer p.SetDeadline(time.Time{})
	}
	var both sync.WaitGroup
	for i, p := range sides {
		both.Go(func() {
			for ball.Load() < n {
				if err := p.Park(); err != nil {
					t.Errorf("side %d at %d of %d: %v", i, ball.Load(), n, err)
					ball.Store(n)
				} else if ball.Load() < n {
					ball.Add(1)
				}
				sides[1-i].Unpark()
			}
		})
	}
	both.Wait()
}

func TestNoAllocations(t *testing.T) {
	f := newFlag()
	f.raise()
	if n := testing.AllocsPerRun(100, func() { _ = f.Park(); f.Unpark() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
