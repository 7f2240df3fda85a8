package buf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mapPages maps anonymous memory for the length of the test.
func mapPages(t *testing.T, pages, prot int) []byte {
	t.Helper()
	m, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	return m
}

const readWrite = unix.PROT_READ | unix.PROT_WRITE

func TestInvariant15_SuppliedMemory(t *testing.T) {
	page := os.Getpagesize()
	m := mapPages(t, 600, readWrite) // more than the probe moves at a time
	for i := range m {
		m[i] = byte(i * 7)
	}
	before := bytes.Clone(m)
	live := LiveRegions()
	r, err := NewRegion(RegionConfig{Memory: m})
	if err != nil {
		t.Fatal(err)
	}
	if r.Count() != 600 || r.Kind() != Supplied || addressOf(r.Memory()) != addressOf(m) {
		t.Fatalf("%d buffers, %v", r.Count(), r.Kind())
	}
	if !bytes.Equal(m, before) {
		t.Fatal("registration changed the memory")
	}
	freeRegion(t, r)
	m[0]++ // still mapped: it is the caller's
	if LiveRegions() != live {
		t.Fatal("the region is still live")
	}
	// With buffers of two pages, and their number given.
	if r, err = NewRegion(RegionConfig{Memory: m, BufferSize: 2 * page, Buffers: 300}); err != nil {
		t.Fatal(err)
	}
	freeRegion(t, r)
}

func TestInvariant15_BadMemory(t *testing.T) {
	page := os.Getpagesize()
	protected := func(prot, bad int) []byte {
		m := mapPages(t, 520, readWrite)
		if err := unix.Mprotect(m[bad*page:(bad+1)*page], prot); err != nil {
			t.Fatal(err)
		}
		return m
	}
	unmapped, err := unix.Mmap(-1, 0, 2*page, readWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Munmap(unmapped); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("short", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(page)); err != nil {
		t.Fatal(err)
	}
	short, err := unix.Mmap(fd, 0, 2*page, readWrite, unix.MAP_SHARED)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(short); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		name string
		m    []byte
		want error
	}{
		{"one byte off a page", mapPages(t, 2, readWrite)[1 : 1+page], unix.EINVAL},
		{"half a page off", mapPages(t, 2, readWrite)[page/2 : page/2+page], unix.EINVAL},
		{"ends in a page", mapPages(t, 2, readWrite)[:page+1], unix.EINVAL},
		{"unmapped", unmapped, unix.EFAULT},
		{"no access", mapPages(t, 4, unix.PROT_NONE), unix.EFAULT},
		{"read-only", mapPages(t, 4, unix.PROT_READ), unix.EFAULT},
		{"first page read-only", protected(unix.PROT_READ, 0), unix.EFAULT},
		{"a later page read-only", protected(unix.PROT_READ, 300), unix.EFAULT},
		{"last page read-only", protected(unix.PROT_READ, 519), unix.EFAULT},
		{"a page in the middle unreadable", protected(unix.PROT_NONE, 100), unix.EFAULT},
		{"beyond the file's end", short, unix.EFAULT},
	} {
		t.Run(c.name, func(t *testing.T) {
			live := LiveRegions()
			r, err := NewRegion(RegionConfig{Memory: c.m})
			if r != nil || !errors.Is(err, c.want) {
				t.Fatalf("NewRegion: %v, %v; want %v", r, err, c.want)
			}
			if LiveRegions() != live {
				t.Fatal("a failure left a region behind")
			}
		})
	}
	// What was wrong can be put right, and the same call succeeds.
	m := protected(unix.PROT_READ, 300)
	if _, err := NewRegion(RegionConfig{Memory: m}); !errors.Is(err, unix.EFAULT) {
		t.Fatal(err)
	}
	if err := unix.Mprotect(m, readWrite); err != nil {
		t.Fatal(err)
	}
	r, err := NewRegion(RegionConfig{Memory: m})
	if err != nil {
		t.Fatal(err)
	}
	freeRegion(t, r)
}

func TestInvariant15_OverlapIsRefusedAndRolledBack(t *testing.T) {
	page := os.Getpagesize()
	m := mapPages(t, 8, readWrite)
	pages := func(from, to int) RegionConfig { return RegionConfig{Memory: m[from*page : to*page]} }
	first, err := NewRegion(pages(2, 5))
	if err != nil {
		t.Fatal(err)
	}
	live := LiveRegions()
	for _, c := range [][2]int{{2, 5}, {2, 3}, {3, 4}, {4, 5}, {0, 3}, {4, 8}, {0, 8}, {1, 6}} {
		r, err := NewRegion(pages(c[0], c[1]))
		if r != nil || !errors.Is(err, unix.EEXIST) {
			t.Fatalf("pages %d to %d: %v, %v; want EEXIST", c[0], c[1], r, err)
		}
		if LiveRegions() != live {
			t.Fatalf("pages %d to %d left a region behind", c[0], c[1])
		}
	}
	// Neighbours are none.
	for _, c := range [][2]int{{0, 2}, {5, 8}} {
		r, err := NewRegion(pages(c[0], c[1]))
		if err != nil {
			t.Fatalf("pages %d to %d: %v", c[0], c[1], err)
		}
		freeRegion(t, r)
	}
	// The same call succeeds when the first region is gone.
	freeRegion(t, first)
	r, err := NewRegion(pages(0, 8))
	if err != nil {
		t.Fatal(err)
	}
	freeRegion(t, r)
}

func TestMappedRegions(t *testing.T) {
	free := hugePagesFree(t)
	perHuge := hugePage / os.Getpagesize()
	for _, c := range []struct {
		name string
		c    RegionConfig
		huge bool
	}{
		{"no huge pages wanted", RegionConfig{Buffers: perHuge, NoHugePages: true}, false},
		{"not a multiple of a huge page", RegionConfig{Buffers: 3}, false},
		{"huge if there are any", RegionConfig{Buffers: perHuge}, free >= 1},
		{"more than there may be", RegionConfig{Buffers: 64 * perHuge}, free >= 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			live := LiveRegions()
			r, err := NewRegion(c.c)
			if err != nil {
				t.Fatal(err)
			}
			if (r.Kind() == Huge) != c.huge || (r.Kind() == Mapped) == c.huge {
				t.Fatalf("%v, with %d huge pages free", r.Kind(), free)
			}
			m := r.Memory()
			for i := 0; i < len(m); i += r.BufferSize() {
				if m[i] != 0 {
					t.Fatal("memory is not zero")
				}
				m[i] = 1
			}
			if flags := vmFlags(t, addressOf(m)); !strings.Contains(flags, " dc") {
				t.Errorf("mapping flags %q: it would be copied to children", flags)
			}
			freeRegion(t, r)
			if LiveRegions() != live {
				t.Fatal("the region is still live")
			}
		})
	}
}

// TestMemoryIsGivenBack: a mapped region's memory is unmapped when it is freed.
func TestMemoryIsGivenBack(t *testing.T) {
	p := NewPool(mustRegion(t, RegionConfig{Buffers: 64, NoHugePages: true}))
	b := alloc(t, p, 1)[0]
	m := p.Region().Buffer(b)
	mark := []byte("this is the region's memory")
	copy(m, mark)
	v := handOver(t, p, b, 0, len(mark))
	p.Close()
	p.Remove()
	if got, err := peek(t, m[:len(mark)]); err != nil || !bytes.Equal(got, mark) {
		t.Fatalf("unmapped while an iov is out: %q, %v", got, err)
	}
	giveBack(t, p, v)
	// Something else may have been mapped there at once.
	if got, err := peek(t, m[:len(mark)]); err == nil && bytes.Equal(got, mark) || err != nil && !errors.Is(err, unix.EFAULT) {
		t.Fatalf("still mapped after the last return: %q, %v", got, err)
	}
}

// peek is what m holds, or EFAULT if that is not mapped.
func peek(t *testing.T, m []byte) ([]byte, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := unix.Write(int(w.Fd()), m); err != nil {
		return nil, err
	}
	got := make([]byte, len(m))
	_, err = io.ReadFull(r, got)
	return got, err
}

func mustRegion(t *testing.T, c RegionConfig) *Region {
	t.Helper()
	r, err := NewRegion(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hugePagesFree is how many huge pages the system has to give.
func hugePagesFree(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "HugePages_Free:") {
			if _, err := fmt.Sscanf(line, "HugePages_Free: %d", &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// vmFlags is the kernel's flags of the mapping that contains addr.
func vmFlags(t *testing.T, addr uintptr) string {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var from, to uintptr
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && from <= addr && addr < to {
			return flags
		}
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			continue
		}
	}
	t.Fatalf("no mapping at %#x", addr)
	return ""
}
