//go:build linux

package main

import (
	"bytes"
	"context"
	"net"
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

// send --wait connects to a receiver that comes later, and without gives up.
func TestDialPatiently(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	if c, err := dialPatiently(context.Background(), addr, 0); err == nil {
		c.Close()
		t.Fatal("connected to nobody")
	}
	listening := make(chan net.Listener, 1)
	go func() {
		time.Sleep(2 * dialInterval)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			close(listening)
			return
		}
		listening <- ln
	}()
	c, err := dialPatiently(context.Background(), addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if ln := <-listening; ln != nil {
		ln.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*dialInterval)
	defer cancel()
	if c, err := dialPatiently(ctx, addr, time.Hour); err == nil {
		c.Close()
		t.Error("connected to nobody")
	}
}
