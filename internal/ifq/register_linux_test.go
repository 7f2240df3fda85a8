package ifq

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/testenv"
)

// TestInvariant15_MemoryErrors: what is wrong with the memory that is to be the
// region, put right afterwards.
func TestInvariant15_MemoryErrors(t *testing.T) {
	page := os.Getpagesize()
	m, err := unix.Mmap(-1, 0, 8*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	protect := func(prot int) {
		if err := unix.Mprotect(m[2*page:3*page], prot); err != nil {
			t.Fatal(err)
		}
	}
	unchanged(t)
	dev := &card{name: "eth7"}
	refused := func(mem []byte, want error) {
		t.Helper()
		before := look()
		if q, err := Register(dev, &Args{Region: buf.RegionConfig{Memory: mem}}); q != nil || !errors.Is(err, want) {
			t.Fatalf("Register: %v, %v; want %v", q, err, want)
		}
		if now := look(); now != before {
			t.Fatalf("left behind: %+v, before %+v", now, before)
		}
	}
	works := func(mem []byte, queue int) *Queue {
		t.Helper()
		return register(t, dev, &Args{Queue: queue, Region: buf.RegionConfig{Memory: mem}})
	}

	refused(m[1:1+page], unix.EINVAL) // not aligned
	for _, prot := range []int{unix.PROT_READ, unix.PROT_NONE} {
		protect(prot)
		refused(m, unix.EFAULT)
		protect(unix.PROT_READ | unix.PROT_WRITE)
		closeQueue(t, works(m, 0))
	}
	other := works(m[4*page:], 1) // belongs to another queue
	refused(m, unix.EEXIST)
	refused(m[7*page:], unix.EEXIST)
	closeQueue(t, works(m[:4*page], 0))
	closeQueue(t, other)
	closeQueue(t, works(m, 0))
	if dev.setups != 5 || dev.closes != 5 {
		t.Fatalf("%d set up, %d closed, want 5: only what was registered", dev.setups, dev.closes)
	}
}

// TestInvariant15_NoMemory asks for 64 TiB.
func TestInvariant15_NoMemory(t *testing.T) {
	const file = "/proc/sys/vm/overcommit_memory"
	if mode, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(mode)) == "1" {
		testenv.SkipOrFail(t, "%s is 1 (or unreadable: %v): the system promises any amount of memory", file, err)
	}
	unchanged(t)
	dev := &card{name: "eth7"}
	args := &Args{Region: buf.RegionConfig{Buffers: buf.MaxBuffers, BufferSize: 1 << 30, NoHugePages: true}}
	before := look()
	q, err := Register(dev, args)
	if q != nil || !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "eth7 queue 0") {
		t.Fatalf("Register: %v, %v; want ENOMEM", q, err)
	}
	if look() != before || dev.setups != 0 {
		t.Fatal("something is left behind")
	}
	args.Region.BufferSize = 0
	args.Region.Buffers = 16
	closeQueue(t, register(t, dev, args))
}

// TestInvariant16_MemoryOfAnAbandonedQueue: memory that was given up on under a
// driver's reference is no other queue's until that is back.
func TestInvariant16_MemoryOfAnAbandonedQueue(t *testing.T) {
	m, err := unix.Mmap(-1, 0, 4*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	unchanged(t)
	dev := &card{name: "eth7"}
	args := &Args{Region: buf.RegionConfig{Memory: m}, RemoveTimeout: -1}
	q := register(t, dev, args)
	b := alloc(t, q.Pool())
	if err := q.Close(); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("Close: %v", err)
	}
	if _, err := Register(dev, args); !errors.Is(err, unix.EEXIST) {
		t.Fatalf("registered memory that a driver may still write to: %v", err)
	}
	q.Pool().Put(b)
	closeQueue(t, register(t, dev, args))
}
