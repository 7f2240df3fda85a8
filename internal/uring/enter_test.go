//go:build linux

package uring

import (
	"errors"
	"math"
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEnterTimeout: a wait for more completions than come ends, without error.
func TestEnterTimeout(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		for _, timeout := range []time.Duration{0, 1, 3 * time.Millisecond} {
			for _, requests := range []int{0, 1} { // the kernel reports ETIME in the first case only
				for range requests {
					push(t, r, Nop(1))
				}
				n, err := r.Enter(2, timeout)
				if n != requests || err != nil {
					t.Fatalf("timeout %v: entered %d: %v, want %d", timeout, n, err, requests)
				}
				if ready := r.Ready(); ready != requests {
					t.Errorf("timeout %v: %d completions, want %d", timeout, ready, requests)
				}
				for range requests {
					expect(t, r, 1, 0)
				}
			}
		}
	})
}

func TestTimespec(t *testing.T) {
	for d, want := range map[time.Duration]timespec{
		0:                       {0, 0},
		1:                       {0, 1},
		1500 * time.Millisecond: {1, 500_000_000},
		time.Hour + 1:           {3600, 1},
		math.MaxInt64:           {9223372036, 854775807},
	} {
		if got := toTimespec(d); got != want {
			t.Errorf("%v is %+v, want %+v", d, got, want)
		}
	}
}

// TestWake posts completions from another goroutine to a ring whose thread sits in Enter without limit. The thread must be
// seen waiting before each wake, and come back with it.
func TestWake(t *testing.T) {
	needFeature(t, MsgRingWake)
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		const rounds = 20
		w := r.Waker(77, 5)
		tid := unix.Gettid()
		turn := make(chan struct{})
		async(t, func() error {
			for range turn {
				awaitBlocked(t, tid)
				if err := w.Wake(); err != nil {
					return err
				}
			}
			return nil
		})
		defer close(turn)
		for range rounds {
			turn <- struct{}{}
			var c [2]CQE
			n := 0
			for n == 0 {
				if _, err := r.Enter(1, -1); err != nil {
					t.Fatal(err)
				}
				n = r.Reap(c[:])
			}
			if n != 1 || c[0].UserData != 77 || c[0].Res != 5 {
				t.Fatalf("woken by %d completions: %+v", n, c[:n])
			}
		}
	})
}

// TestWakeNotLost wakes from several goroutines at once, far more often than the completion queue holds, and counts.
func TestWakeNotLost(t *testing.T) {
	needFeature(t, MsgRingWake)
	onVariants(t, 4, func(t *testing.T, r *Ring) {
		const goroutines, each = 4, 250
		w := r.Waker(1, 0)
		for range goroutines {
			async(t, func() error {
				for range each {
					if err := w.Wake(); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for range goroutines * each {
			expect(t, r, 1, 0)
		}
		if n, err := r.Enter(0, 0); n != 0 || err != nil || r.Ready() != 0 {
			t.Errorf("more wakes than calls: %d ready, %v", r.Ready(), err)
		}
	})
}

func TestWakeAllocatesNothing(t *testing.T) {
	needFeature(t, MsgRingWake)
	r := newRing(t, 8, Params{})
	w := r.Waker(1, 0)
	var c [8]CQE
	var failed error
	if n := testing.AllocsPerRun(100, func() {
		if err := w.Wake(); err != nil {
			failed = err
		}
		if r.Reap(c[:]) != 1 {
			failed = errors.New("the wake is not there")
		}
	}); n != 0 || failed != nil {
		t.Errorf("%v allocations a wake, want 0 (%v)", n, failed)
	}
}

// TestWakeErrors: what a Waker says when there is nobody to wake.
func TestWakeErrors(t *testing.T) {
	needFeature(t, MsgRingWake)
	r := newRing(t, 8, Params{Flags: SetupRDisabled | SetupSingleIssuer | SetupDeferTaskrun})
	w := r.Waker(1, 0)
	if err := w.Wake(); !errors.Is(err, unix.EBADFD) {
		t.Errorf("waking a disabled ring: %v", err)
	}
	must(t, r.Enable())
	must(t, w.Wake())
	expect(t, r, 1, 0)
}

// TestEnterInterrupted sends signals to a thread that waits: Enter comes back without error and without completions.
func TestEnterInterrupted(t *testing.T) {
	r := newRing(t, 8, Params{})
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, unix.SIGUSR1)
	defer signal.Stop(sigs)
	tid := unix.Gettid()
	async(t, func() error {
		awaitBlocked(t, tid)
		return unix.Tgkill(os.Getpid(), tid, unix.SIGUSR1)
	})
	if n, err := r.Enter(1, patience); n != 0 || err != nil {
		t.Errorf("interrupted: %d, %v", n, err)
	}
	<-sigs
	if n := r.Ready(); n != 0 {
		t.Errorf("%d completions", n)
	}
	push(t, r, Nop(1))
	expect(t, r, 1, 0)
}

func TestBusy(t *testing.T) {
	for errno, want := range map[unix.Errno]bool{
		unix.EBUSY: true, unix.EAGAIN: true,
		unix.EEXIST: false, unix.EBADFD: false, unix.EINVAL: false, unix.EBADR: false,
	} {
		err := wrapEnter(errno)
		if Busy(err) != want || !errors.Is(err, errno) {
			t.Errorf("%v: Busy is %v", err, Busy(err))
		}
	}
	if Busy(nil) {
		t.Error("no error is busy")
	}
}

func TestEventfd(t *testing.T) {
	r := newRing(t, 8, Params{})
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	must(t, err)
	keep(t, efd)
	count := func() uint64 {
		var b [8]byte
		if _, err := unix.Read(efd, b[:]); errors.Is(err, unix.EAGAIN) {
			return 0
		} else if err != nil {
			t.Fatal(err)
		}
		return uint64(b[0])
	}
	must(t, r.RegisterEventfd(efd))
	if err := r.RegisterEventfd(efd); !errors.Is(err, unix.EBUSY) {
		t.Errorf("registering a second eventfd: %v", err)
	}
	push(t, r, Nop(1))
	expect(t, r, 1, 0)
	if n := count(); n != 1 {
		t.Errorf("eventfd counts %d, want 1", n)
	}
	must(t, r.UnregisterEventfd())
	push(t, r, Nop(2))
	expect(t, r, 2, 0)
	if n := count(); n != 0 {
		t.Errorf("eventfd counts %d after it was unregistered", n)
	}
}
