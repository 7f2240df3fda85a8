//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// Two mappings of the same memory are different pages of the same frames.
func TestPageFrames(t *testing.T) {
	testenv.NeedRoot(t)
	const pages = 3
	size := pages * os.Getpagesize()
	fd, err := unix.MemfdCreate("frames", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	var got [2][]uint64
	for i := range got {
		m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(m)
		p, err := newPageFrames()
		if err != nil {
			t.Fatal(err)
		}
		// The second view is of two pages, one of which was seen.
		page := os.Getpagesize()
		if err := p.sink([][]byte{m[10:20], m[page-1 : page+1], nil, m[2*page : 2*page+1]}); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "frames")
		if err := p.write(name); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got[i], err = readFrames(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if len(got[0]) != pages || !slices.Equal(got[0], got[1]) {
		t.Errorf("page frames %x and %x of the same %d pages", got[0], got[1], pages)
	}
	if _, err := readFrames(bytes.NewReader(make([]byte, 9))); err == nil {
		t.Error("9 bytes are taken for page frames")
	}
}

func TestFramesAmong(t *testing.T) {
	for _, c := range []struct {
		read, written []uint64
		want          bool
	}{
		{[]uint64{2, 1, 2}, []uint64{1, 2}, true},
		{[]uint64{1}, []uint64{1, 2}, true},
		{[]uint64{1, 2}, []uint64{1}, false},
		{nil, nil, false}, // nothing proves nothing
		{nil, []uint64{1}, false},
	} {
		if got := among(c.read, c.written); got != c.want {
			t.Errorf("%v among %v: %v", c.read, c.written, got)
		}
	}
}

// send --wait connects to a receiver that comes later, and without gives up. The port is
// bound all the time, so that nobody else gets it.
func TestDialPatiently(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprint("127.0.0.1:", sa.(*unix.SockaddrInet4).Port)
	ctx, cancel := context.WithTimeout(context.Background(), 3*dialInterval)
	defer cancel()
	for patience, ctx := range map[time.Duration]context.Context{0: context.Background(), time.Hour: ctx} {
		if c, err := dialPatiently(ctx, addr, patience); err == nil {
			c.Close()
			t.Fatal("connected to nobody")
		}
	}
	listening := make(chan error)
	go func() {
		time.Sleep(2 * dialInterval)
		listening <- unix.Listen(fd, 1)
	}()
	c, err := dialPatiently(context.Background(), addr, time.Hour)
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
