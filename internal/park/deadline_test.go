package park

import (
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	past := func(f *flag) { f.SetDeadline(time.Now().Add(-time.Second)) }
	in := func(d time.Duration) func(*flag) {
		return func(f *flag) { f.SetDeadline(time.Now().Add(d)) }
	}
	never := func(f *flag) { f.SetDeadline(time.Time{}) }
	sleep := func(d time.Duration) func(*flag) { return func(*flag) { time.Sleep(d) } }
	raise := func(f *flag) { f.raise() }
	for _, c := range []struct {
		name   string
		before []func(*flag) // before Park
		during []func(*flag) // while it waits; with none it must not wait
		want   error
		after  time.Duration // when it returns, from the start
	}{
		{"past", []func(*flag){past}, nil, os.ErrDeadlineExceeded, 0},
		{"now", []func(*flag){in(0)}, nil, os.ErrDeadlineExceeded, 0},
		{"past beats what is ready", []func(*flag){past, raise}, nil, os.ErrDeadlineExceeded, 0},
		{"future", []func(*flag){in(time.Hour)}, []func(*flag){sleep(time.Hour)}, os.ErrDeadlineExceeded, time.Hour},
		{"future, ready before", []func(*flag){in(time.Hour)}, []func(*flag){sleep(time.Minute), raise}, nil, time.Minute},
		{"came before Park", []func(*flag){in(time.Hour), sleep(time.Hour)}, nil, os.ErrDeadlineExceeded, time.Hour},
		{"set to the past while waiting", nil, []func(*flag){past}, os.ErrDeadlineExceeded, 0},
		{"set to the future while waiting", nil, []func(*flag){in(time.Hour), sleep(time.Hour)}, os.ErrDeadlineExceeded, time.Hour},
		{"moved on while waiting", []func(*flag){in(time.Hour)},
			[]func(*flag){in(2 * time.Hour), sleep(2 * time.Hour)}, os.ErrDeadlineExceeded, 2 * time.Hour},
		{"moved back while waiting", []func(*flag){in(time.Hour)},
			[]func(*flag){in(time.Minute), sleep(time.Minute)}, os.ErrDeadlineExceeded, time.Minute},
		{"taken away while waiting", []func(*flag){in(time.Hour)},
			[]func(*flag){never, sleep(24 * time.Hour), raise}, nil, 24 * time.Hour},
		{"past, then taken away", []func(*flag){past, never, raise}, nil, nil, 0},
		{"past, then future", []func(*flag){past, in(time.Hour)}, []func(*flag){sleep(time.Hour)}, os.ErrDeadlineExceeded, time.Hour},
		{"past twice", []func(*flag){past, past}, nil, os.ErrDeadlineExceeded, 0},
		{"came, then future", []func(*flag){in(time.Hour), sleep(time.Hour), in(time.Hour)},
			[]func(*flag){sleep(time.Hour)}, os.ErrDeadlineExceeded, 2 * time.Hour},
		{"none", []func(*flag){never}, []func(*flag){sleep(time.Hour), raise}, nil, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, start := newFlag(), time.Now()
				for _, step := range c.before {
					step(f)
				}
				ch := make(chan error, 1)
				go func() { ch <- f.Park() }()
				for _, step := range c.during {
					stillParked(t, ch)
					step(f)
				}
				woken(t, ch, c.want)
				if d := time.Since(start); d != c.after {
					t.Fatalf("returned after %v, want %v", d, c.after)
				}
			})
		})
	}
}

// TestDeadlineSticks: it holds until it is moved, and then Park works again.
func TestDeadlineSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlag()
		f.raise()
		for range 3 {
			f.SetDeadline(time.Now().Add(time.Second))
			if err := f.Park(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait() // for the timer's goroutine
			for range 2 {
				if err := f.Park(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("Park: %v", err)
				}
			}
		}
		f.SetDeadline(time.Time{})
		if err := f.Park(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDeadlineRaces moves the deadline from several goroutines while one waits,
// with timers that fire at any time: no panic, no deadlock, and the last one set
// holds.
func TestDeadlineRaces(t *testing.T) {
	f := newFlag()
	var setters sync.WaitGroup
	for k := range 3 {
		setters.Go(func() {
			for i := range 3000 {
				switch (i + k) % 4 {
				case 0:
					f.SetDeadline(time.Time{})
				case 1:
					f.SetDeadline(time.Now().Add(-1))
				default:
					f.SetDeadline(time.Now().Add(time.Duration(i%50) * time.Microsecond))
				}
			}
		})
	}
	c := make(chan error)
	stop := make(chan struct{})
	go func() {
		defer close(c)
		for {
			select {
			case <-stop:
				return
			default:
				if err := f.Park(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Park: %v", err)
				}
			}
		}
	}()
	setters.Wait()
	close(stop)
	f.SetDeadline(time.Now().Add(-1))
	<-c
	f.SetDeadline(time.Time{})
	f.raise()
	if err := f.Park(); err != nil {
		t.Fatalf("Park without a deadline: %v", err)
	}
}
