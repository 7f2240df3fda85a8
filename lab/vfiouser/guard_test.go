//go:build linux

package vfiouser

import (
	"errors"
	"math"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// panicOf returns what f panics with, nil if it does not.
func panicOf(f func()) (r any) {
	defer func() { r = recover() }()
	f()
	return nil
}

// TestGuardPanics: a bug of a device's is not taken for a fault of the guest's,
// and leaves the lock and the setting of the goroutine as they were.
func TestGuardPanics(t *testing.T) {
	other, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(other)
	var null *int
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"nil pointer", func() { *null = 1 }},
		{"index", func() { _ = other[:5][len(other)-1:] }},
		{"a value", func() { panic("out of order") }},
		{"memory that is not the guest's", func() { other[0] = 1 }},
	} {
		b := &Bus{attached: true}
		if panicOf(func() { b.Do(func() error { tt.f(); return nil }) }) == nil {
			t.Errorf("%s: no panic", tt.name)
		}
		if b.fault != nil {
			t.Errorf("%s: taken for %v", tt.name, b.fault)
		}
		if !b.mu.TryLock() {
			t.Errorf("%s: the lock is still held", tt.name)
		}
		if debug.SetPanicOnFault(false) {
			t.Errorf("%s: the goroutine still panics on faults", tt.name)
		}
	}
}

// TestZeroBus: a Bus without a guest.
func TestZeroBus(t *testing.T) {
	var b Bus
	if _, err := b.Memory(0, 1); !errors.Is(err, ErrDetached) {
		t.Errorf("Memory: %v", err)
	}
	if err := b.Store32(0, 1); !errors.Is(err, ErrDetached) {
		t.Errorf("Store32: %v", err)
	}
	if _, err := b.Load32(0); !errors.Is(err, ErrDetached) {
		t.Errorf("Load32: %v", err)
	}
	if err := b.Do(func() error { t.Error("Do runs"); return nil }); !errors.Is(err, ErrDetached) {
		t.Errorf("Do: %v", err)
	}
	b.Interrupt(0)
}

// TestMemoryCap: what a device appends to guest memory does not land behind it.
func TestMemoryCap(t *testing.T) {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	b := &Bus{attached: true}
	defer b.release()
	if err := b.dma.add(0, 4096, fd, 0, true); err != nil {
		t.Fatal(err)
	}
	mem, err := b.Memory(10, 20)
	if err != nil || len(mem) != 20 || cap(mem) != 20 {
		t.Errorf("%d bytes of %d, %v", len(mem), cap(mem), err)
	}
}

// TestFindWrap: no length makes an address far behind a mapping be one in it.
func TestFindWrap(t *testing.T) {
	var table dmaTable
	if err := table.add(0, 4096, -1, 0, true); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		addr, n uint64
		in      bool
	}{
		{0, 4096, true}, {4095, 1, true}, {4095, 2, false}, {4096, 0, false},
		{math.MaxUint64, 2, false}, {1, math.MaxUint64, false}, {math.MaxUint64, math.MaxUint64, false},
	} {
		if in := table.find(tt.addr, tt.n) != nil; in != tt.in {
			t.Errorf("%d bytes at %#x: %t, want %t", tt.n, tt.addr, in, tt.in)
		}
	}
}
