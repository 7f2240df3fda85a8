//go:build linux

package vfiouser

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Limits of what one client may map: each mapping with a descriptor is one of
// the process's (vm.max_map_count is 65530 by default, and Go's heap needs some)
// and takes address space (47 bits, in which the heap must grow as well).
const (
	maxMaps   = 4096
	maxMapped = 1 << 44 // bytes
	mapAlign  = 4096    // of addresses and sizes: the smallest page size
)

// A mapping is one range of guest addresses that the client has announced.
type mapping struct {
	addr, size uint64
	mem        []byte  // nil if it came without a descriptor
	base       uintptr // where mem is
	writable   bool
}

// last is the range's last address. It does not wrap around.
func (m *mapping) last() uint64 { return m.addr + (m.size - 1) }

// A dmaTable is the guest memory that a device can reach. The zero table is
// empty. It owns the mappings of files, not their descriptors: those can be
// closed after mmap.
type dmaTable struct {
	maps   []mapping // by address; they do not overlap
	mapped uint64    // bytes of those that have memory
}

// after returns the index of the first mapping that begins after addr.
func (t *dmaTable) after(addr uint64) int {
	i, found := slices.BinarySearchFunc(t.maps, addr, func(m mapping, addr uint64) int {
		switch {
		case m.addr < addr:
			return -1
		case m.addr > addr:
			return 1
		}
		return 0
	})
	if found {
		i++
	}
	return i
}

// find returns the mapping that holds n bytes at addr, nil if none does. The
// pointer is valid until the table changes.
func (t *dmaTable) find(addr, n uint64) *mapping {
	i := t.after(addr) - 1
	if i < 0 {
		return nil
	}
	m := &t.maps[i]
	if off := addr - m.addr; off >= m.size || n > m.size-off {
		return nil
	}
	return m
}

// add maps size bytes of the file at offset for the guest addresses from addr
// on; with fd -1 it only takes note of them. fd stays the caller's.
func (t *dmaTable) add(addr, size uint64, fd int, offset uint64, writable bool) error {
	if size == 0 || addr%mapAlign != 0 || size%mapAlign != 0 || size-1 > math.MaxUint64-addr {
		return fmt.Errorf("%d bytes at address %#x: %w", size, addr, unix.EINVAL)
	}
	m := mapping{addr: addr, size: size, writable: writable}
	i := t.after(m.last())
	if i > 0 && t.maps[i-1].last() >= addr {
		return fmt.Errorf("%d bytes at address %#x overlap a mapping: %w", size, addr, unix.EEXIST)
	}
	if len(t.maps) >= maxMaps {
		return fmt.Errorf("more than %d mappings: %w", maxMaps, unix.ENOSPC)
	}
	if fd >= 0 {
		if size > maxMapped-t.mapped {
			return fmt.Errorf("more than %d bytes mapped: %w", uint64(maxMapped), unix.ENOSPC)
		}
		mem, err := mapFile(fd, offset, size, writable)
		if err != nil {
			return err
		}
		m.mem, m.base = mem, baseOf(mem)
		t.mapped += size
	}
	t.maps = slices.Insert(t.maps, i, m)
	return nil
}

// mapFile maps part of a file that the client gave. It must be one of shared
// memory (a memfd, tmpfs, hugetlbfs): those, and only those, have seals, and
// whatever else is behind a descriptor could block us for as long as the client
// likes (FUSE) or have effects when it is read (devices).
//
// That the part is inside the file is checked, for its pages beyond the end
// would be traps (see guard); it does not stay true if the client is hostile.
func mapFile(fd int, offset, size uint64, writable bool) ([]byte, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return nil, fmt.Errorf("guest memory is not a file of shared memory: %w", unix.EINVAL)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("fstat of guest memory: %w", err)
	}
	if end := offset + size; end < size || end > uint64(max(st.Size, 0)) || size > math.MaxInt {
		return nil, fmt.Errorf("%d bytes at offset %#x of a file of %d: %w", size, offset, st.Size, unix.EINVAL)
	}
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(fd, int64(offset), int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap of %d bytes at offset %#x: %w", size, offset, err)
	}
	return mem, nil
}

// remove takes back what one add made: address and size must be the same.
func (t *dmaTable) remove(addr, size uint64) error {
	i := t.after(addr) - 1
	if i < 0 || t.maps[i].addr != addr || t.maps[i].size != size {
		return fmt.Errorf("no mapping of %d bytes at address %#x: %w", size, addr, unix.ENOENT)
	}
	err := t.unmap(&t.maps[i])
	t.maps = slices.Delete(t.maps, i, i+1)
	return err
}

// clear takes back all.
func (t *dmaTable) clear() {
	for i := range t.maps {
		// munmap of a whole mapping fails only for one that is not ours.
		_ = t.unmap(&t.maps[i])
	}
	t.maps = nil
}

func (t *dmaTable) unmap(m *mapping) error {
	if m.mem == nil {
		return nil
	}
	mem := m.mem
	m.mem = nil
	t.mapped -= m.size
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("munmap of %d bytes at address %#x: %w", m.size, m.addr, err)
	}
	return nil
}

// guestAddress returns the guest's address of a byte in one of the mappings.
func (t *dmaTable) guestAddress(host uintptr) (addr uint64, ok bool) {
	for i := range t.maps {
		m := &t.maps[i]
		if off := uint64(host - m.base); m.mem != nil && host >= m.base && off < m.size {
			return m.addr + off, true
		}
	}
	return 0, false
}
