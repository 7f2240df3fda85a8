package buf

import (
	"fmt"
	"sync"
	"syscall"
)

// regions lists the live regions of the process: it hands out ids and refuses
// memory that two regions would share. The RFC marks every page with its region
// for this (patch 5: a page that already has a mark is EEXIST, and the marks
// made so far are undone); address ranges say the same without the marks.
var regions = regionTable{byID: map[uint16]*Region{}}

type regionTable struct {
	mu   sync.Mutex
	byID map[uint16]*Region
	last uint16
}

func (t *regionTable) add(r *Region) (uint16, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := r.base + uintptr(len(r.mem))
	for _, o := range t.byID {
		if r.base < o.base+uintptr(len(o.mem)) && o.base < end {
			return 0, fmt.Errorf("buf: memory %#x to %#x overlaps region %d: %w", r.base, end, o.id, syscall.EEXIST)
		}
	}
	if len(t.byID) == 1<<16-1 {
		return 0, fmt.Errorf("buf: all region ids are in use: %w", syscall.ENOSPC)
	}
	// Count on from the last id rather than take the lowest free one: an id
	// that is not reused soon makes a stale Iov of a closed queue miss.
	for {
		t.last++
		if _, used := t.byID[t.last]; !used && t.last != 0 {
			t.byID[t.last] = r
			return t.last, nil
		}
	}
}

func (t *regionTable) remove(r *Region) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[r.id] == r {
		delete(t.byID, r.id)
	}
}

// LiveRegions is the number of regions made and not yet freed: what a test's
// end compares with its beginning.
func LiveRegions() int {
	regions.mu.Lock()
	defer regions.mu.Unlock()
	return len(regions.byID)
}
