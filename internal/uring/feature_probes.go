//go:build linux

package uring

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// probePatience is how long a probe waits for a completion that is due at once.
const probePatience = 2 * time.Second

// withProbeRing runs probe on a small ring of its own, on one thread from beginning to end.
func withProbeRing(probe func(r *Ring) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(4, Params{})
	if err != nil {
		return err
	}
	return errors.Join(probe(r), r.Close())
}

func probeBasic() error {
	return withProbeRing(func(*Ring) error { return nil })
}

// awaitOne returns the next completion.
func awaitOne(r *Ring) (CQE, error) {
	deadline := time.Now().Add(probePatience)
	var c [1]CQE
	for {
		if r.Reap(c[:]) == 1 {
			return c[0], nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return CQE{}, errors.New("uring: no completion came")
		}
		if _, err := r.Enter(1, left); err != nil {
			return CQE{}, err
		}
	}
}

// probeMessage is what a receiving probe sends itself; with buffers of half its length it takes two.
var probeMessage = []byte("zctap probe message.")

// tryRecv receives probeMessage by a multishot request with flags, into two buffers that hold half of it each, and returns
// the first completion. Where the kernel knows no such request the result is -EINVAL.
func tryRecv(r *Ring, flags RecvFlags) (c CQE, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return CQE{}, fmt.Errorf("uring: socketpair: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	mem, err := unix.Mmap(-1, 0, len(probeMessage), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return CQE{}, fmt.Errorf("uring: mmap: %w", err)
	}
	inFlight := false
	defer func() {
		if !inFlight { // else the kernel may still write there: rather lose a page than have it write to its next owner
			err = errors.Join(err, unix.Munmap(mem))
		}
	}()

	br, err := r.NewBufRing(BufRingConfig{Entries: 2})
	if err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: %w", err, ErrNotSupported)
		}
		return CQE{}, err
	}
	half := len(probeMessage) / 2
	for bid := range 2 {
		if err := br.Add(AddrOf(mem[bid*half:]), uint32(half), uint16(bid)); err != nil {
			return CQE{}, err
		}
	}
	br.Publish()
	if _, err := unix.Write(pair[1], probeMessage); err != nil {
		return CQE{}, fmt.Errorf("uring: write: %w", err)
	}
	if err := r.Push(RecvMultishot(pair[0], br.Group(), flags, 1)); err != nil {
		return CQE{}, err
	}
	inFlight = true
	if c, err = awaitOne(r); err != nil {
		return CQE{}, err
	}
	// The buffers are unmapped next: end the request first. It goes on to fill the second buffer, runs out of buffers or is
	// cancelled; it is over when a completion of it says so.
	if c.More() {
		if err := r.Push(CancelEverything(2)); err != nil {
			return CQE{}, err
		}
		for more := true; more; {
			end, err := awaitOne(r)
			if err != nil {
				return CQE{}, err
			}
			more = end.UserData != 1 || end.More()
		}
	}
	inFlight = false
	return c, nil
}

func probeMultishotRecv() error {
	return withProbeRing(func(r *Ring) error {
		c, err := tryRecv(r, 0)
		return judgeRecv(c, err, len(probeMessage)/2)
	})
}

func probeBundleRecv() error {
	return withProbeRing(func(r *Ring) error {
		c, err := tryRecv(r, RecvBundle)
		if half := len(probeMessage) / 2; err == nil && int(c.Res) == half {
			return nil // it may bring less than there is: Linux 6.16 does for the first
		}
		return judgeRecv(c, err, len(probeMessage))
	})
}

// judgeRecv says what the first completion of a receive means that should bring want bytes.
func judgeRecv(c CQE, err error, want int) error {
	switch {
	case err != nil:
		return err
	case c.Res == -int32(unix.EINVAL):
		return fmt.Errorf("uring: receive: %w: %w", unix.EINVAL, ErrNotSupported)
	case c.Res < 0:
		return fmt.Errorf("uring: receive: %w", c.Err())
	case int(c.Res) != want:
		return fmt.Errorf("uring: receive brought %d bytes, want %d", c.Res, want)
	}
	return nil
}

func probeMsgRingWake() error {
	return withProbeRing(func(r *Ring) error {
		if err := r.Waker(7, 0).Wake(); err != nil {
			return err
		}
		c, err := awaitOne(r)
		if err == nil && c.UserData != 7 {
			err = fmt.Errorf("uring: wake brought user data %d, want 7", c.UserData)
		}
		return err
	})
}

// probeIncrementalBuffers registers a ring without and one with the flag: a kernel that takes the first and calls only the
// second invalid does not know the flag.
func probeIncrementalBuffers() error {
	return withProbeRing(func(r *Ring) error {
		if _, err := r.NewBufRing(BufRingConfig{Group: 1, Entries: 2}); err != nil {
			if errors.Is(err, unix.EINVAL) {
				err = fmt.Errorf("%w: %w", err, ErrNotSupported)
			}
			return err
		}
		_, err := r.NewBufRing(BufRingConfig{Group: 2, Entries: 2, Incremental: true})
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: %w", err, ErrNotSupported)
		}
		return err
	})
}
