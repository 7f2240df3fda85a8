//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/pattern"
)

// A pipe takes views in parts, of which few end where a view does, and now and then
// nothing: all arrives in order.
func TestFileSinkPartial(t *testing.T) {
	const seed, rounds = 3, 40
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	s := fileSink(w)
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil { // Fd has made it blocking, which takes all
		t.Fatal(err)
	}
	type result struct {
		bytes, bad int
		err        error
	}
	read := make(chan result, 1)
	go func() {
		pat, b := pattern.New(seed), make([]byte, 999)
		var got result
		for {
			if got.bytes%7 == 0 {
				time.Sleep(time.Millisecond)
			}
			n, err := r.Read(b)
			got.bad += pat.Mismatches(b[:n], int64(got.bytes))
			got.bytes += n
			if err != nil {
				if err != io.EOF {
					got.err = err
				}
				read <- got
				return
			}
		}
	}()
	pat, off := pattern.New(seed), 0
	for i := range rounds {
		var views [][]byte
		for _, n := range []int{1, 0, 4095, 4096, 4097, 1448, 3, 10000 + i} {
			v := make([]byte, n)
			pat.Fill(v, int64(off))
			off += n
			views = append(views, v)
		}
		if err := s(views); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	got := <-read
	if got.err != nil || got.bytes != off || got.bad != 0 {
		t.Errorf("of %d bytes %d came, %d of them wrong: %v", off, got.bytes, got.bad, got.err)
	}
}

// A pipe that nobody reads for a while costs no CPU time.
func TestFileSinkWaits(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := fileSink(w)
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	const pause = 500 * time.Millisecond
	go func() {
		time.Sleep(pause)
		_, _ = io.Copy(io.Discard, r)
		r.Close()
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	before := used()
	if err := s([][]byte{make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if d := used() - before; d > pause/4 {
		t.Errorf("waiting %v for a reader took %v of CPU", pause, d)
	}
}

// What the file can't take is an error that names it.
func TestFileSinkFull(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = fileSink(f)([][]byte{[]byte("a"), []byte("b")})
	var path *os.PathError
	if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &path) || path.Path != "/dev/full" {
		t.Errorf("%v", err)
	}
}
