//go:build invariants

package buf

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"sync"
)

// Invariants reports whether the build checks what costs too much to check
// always.
const Invariants = true

// poison fills free buffers: a view that is read after its return shows it, and
// one that is written after its return is found at the next allocation.
const poison = 0xDB

// debugPool remembers each iov that the application holds, and the stack of
// each buffer's last return. With it a stale or double return panics with both
// stacks, also in the case that counts alone can't tell: two iovs of one
// buffer, one of them returned twice.
type debugPool struct {
	p        *Pool
	mu       sync.Mutex
	out      map[Frag]int    // iovs held by the application
	returned map[Frag]string // last return of an iov, this generation
	last     []string        // last return of any iov of the buffer
	poisoned []bool
}

func (d *debugPool) init(p *Pool) {
	d.p = p
	d.out = map[Frag]int{}
	d.returned = map[Frag]string{}
	d.last = make([]string, p.region.Count())
	d.poisoned = make([]bool, p.region.Count())
}

func (d *debugPool) given(v *Iov) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out[v.frag]++
}

func (d *debugPool) dropping(v *Iov) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := v.frag
	stack := string(debug.Stack())
	if d.out[f] == 0 {
		before := d.returned[f]
		if before == "" {
			before = d.last[f.buffer]
		}
		panic(fmt.Sprintf("buf: stale or double release of buffer %d [%d:+%d], generation %d\n\nreleased before:\n%s\nand now:\n%s",
			f.buffer, f.Offset(), f.Len(), f.gen, before, stack))
	}
	if d.out[f]--; d.out[f] == 0 {
		delete(d.out, f)
	}
	d.returned[f] = stack
	d.last[f.buffer] = stack
}

func (d *debugPool) freed(b uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range d.returned {
		if f.buffer == b {
			delete(d.returned, f)
		}
	}
	if d.p.isLent(b) {
		return // the device may be writing to it
	}
	m := d.p.region.Buffer(b)
	for i := range m {
		m[i] = poison
	}
	d.poisoned[b] = true
}

func (d *debugPool) allocated(b uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.poisoned[b] {
		return
	}
	d.poisoned[b] = false
	m := d.p.region.Buffer(b)
	if bytes.Count(m, []byte{poison}) != len(m) {
		panic(fmt.Sprintf("buf: buffer %d was written to while it was free; its last release:\n%s", b, d.last[b]))
	}
}
