package buf

import (
	"fmt"
	"syscall"

	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/interleave/sync"
)

// Sizes of the buffer path (RFC v3, patch 14).
const (
	cacheSize   = 128  // buffers in the engine's own cache
	recycleSize = 1024 // slots of the recycle ring
	refillBatch = 64   // buffers moved at a time from a ring into the cache
)

// A Pool is the buffers of one region as one interface queue uses them: their
// words, and the four places where a free one can be (cache, recycle ring,
// freelist, fill ring). It is the RFC's io_zctap_ifq_priv and its page freelist.
type Pool struct {
	region *Region
	words  []atomic.Uint64 // one a buffer, see word.go; any goroutine
	turns  []atomic.Uint64 // one for turnGroup buffers, which see; any goroutine

	// owners[b] is whom buffer b is charged to, if its word says that it is.
	// The engine stores it while it holds the only reference; whoever drops the
	// last one reads it.
	owners []*Account

	cache []uint16 // LIFO, engine only

	recycle slotRing // ← Put; → engine
	fill    slotRing // ← Return; → engine
	free    freelist // ← Put when recycle is full, and at the start; → engine

	lending lending // empty but for devices that refill themselves

	allocs  atomic.Uint64 // buffers ever allocated; stored by the engine only
	notices notices
	kick    kick

	state   atomic.Uint32 // poolState
	rejects atomic.Uint64 // returns refused
	debug   debugPool     // empty but under -tags invariants
}

type poolState = uint32

const (
	poolOpen    poolState = iota
	poolClosing           // no allocation any more; kernel references are out
	poolRemoved           // no kernel reference is out, or they were given up on
	poolFreed             // the region is freed
)

// NewPool makes all buffers of r free. The pool owns r from here on and frees
// it when, after Close, no reference to a buffer is left.
func NewPool(r *Region) *Pool {
	n := r.Count()
	p := &Pool{
		region:  r,
		words:   make([]atomic.Uint64, n),
		turns:   turnWords(n),
		owners:  make([]*Account, n),
		cache:   make([]uint16, 0, cacheSize),
		recycle: newSlotRing(recycleSize),
		fill:    newSlotRing(n),
	}
	p.free.init(n)
	p.debug.init(p)
	return p
}

// Region is the pool's region.
func (p *Pool) Region() *Region { return p.region }

// Free is the number of buffers that no one holds a reference to: in the cache,
// the recycle ring, the freelist or the fill ring; of lent ones see FreeLent. While other goroutines put
// and return buffers it is a moment's reading, never too high by more than what
// the engine is allocating just now. A buffer that is just being given back may
// count before Alloc can find it.
func (p *Pool) Free() int {
	// What came back is read first: buffers that go out and come back between
	// the two readings would otherwise count as free twice over.
	back := p.fill.pushed() + p.recycle.pushed() + p.free.pushed.Load()
	back -= p.lending.pushed.Load() // after fill's, which it may not fall behind
	allocs := p.allocs.Load()
	return max(0, int(p.region.count-p.lending.n)-int(allocs-back))
}

// Rejected is how many returns were refused.
func (p *Pool) Rejected() uint64 { return p.rejects.Load() }

// Frag names n bytes from off of buffer b, whose reference the caller holds.
func (p *Pool) Frag(b uint16, off, n int) Frag {
	if off < 0 || n < 0 || off+n > int(p.region.bufSize) {
		panic("buf: Frag beyond the buffer")
	}
	return Frag{off: uint32(off), len: uint32(n), bufferID: bufferID{p.region.id, b}, gen: generation(p.words[b].Load())}
}

// AppendFrag appends to frags what Frag returns. Its fields are stored where they are to
// lie: a Frag that is made and then copied, by one load that must wait for the stores
// of all fields, takes 5 to 7 ns more.
func (p *Pool) AppendFrag(frags []Frag, b uint16, off, n int) []Frag {
	if off < 0 || n < 0 || off+n > int(p.region.bufSize) {
		panic("buf: Frag beyond the buffer")
	}
	i := len(frags)
	frags = append(frags, Frag{})
	f := &frags[i]
	f.off, f.len = uint32(off), uint32(n)
	f.region, f.buffer, f.gen = p.region.id, b, generation(p.words[b].Load())
	return frags
}

// Name makes frags that Landed has made usable, of buffers that are not lent, and whose
// references the caller holds: what Frag does, for a batch of them where they are to lie.
func (p *Pool) Name(frags []Frag) {
	words, size, region := p.words, uint64(p.region.bufSize), p.region.id
	for i := range frags {
		f := &frags[i]
		if uint64(f.off&^copiedBit)+uint64(f.len) > size {
			panic("buf: Frag beyond the buffer")
		}
		f.region, f.gen = region, generation(words[f.buffer].Load())
	}
}

// ours reports whether f can be a frag of p: all that is looked up by what it
// names is there. Region ids begin with 1.
func (p *Pool) ours(f *Frag) bool {
	return f.region == p.region.id && uint32(f.buffer) < p.region.count
}

// Errors of references and returns. All are EINVAL to errors.Is, but for
// ErrOverflow, which is EOVERFLOW.
var (
	// ErrForeign: the buffer is not one of this queue's.
	ErrForeign = fmt.Errorf("buf: not a buffer of this queue: %w", syscall.EINVAL)
	// ErrStale: the reference was given back before.
	ErrStale = fmt.Errorf("buf: already given back: %w", syscall.EINVAL)
	// ErrOverflow: the buffer has as many references as it can count.
	ErrOverflow = fmt.Errorf("buf: too many references to one buffer: %w", syscall.EOVERFLOW)
)

// freelist is the free buffers that are in no ring: all at the start, and later
// what did not fit the recycle ring. LIFO, so that the warmest is taken first.
type freelist struct {
	mu     sync.Mutex
	ids    []uint16
	pushed atomic.Uint64 // ids ever pushed, but for the initial ones
}

func (l *freelist) init(n int) {
	l.ids = make([]uint16, n)
	for i := range l.ids {
		l.ids[i] = uint16(n - 1 - i) // buffer 0 on top
	}
}

func (l *freelist) push(id uint16) {
	l.mu.Lock()
	l.ids = append(l.ids, id)
	l.mu.Unlock()
	l.pushed.Add(1)
}

// putBack adds an id that counts as free already: it came out of a ring.
func (l *freelist) putBack(id uint16) {
	l.mu.Lock()
	l.ids = append(l.ids, id)
	l.mu.Unlock()
}

// pop appends up to n ids to dst, the last pushed last.
func (l *freelist) pop(dst []uint16, n int) []uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.ids))
	dst = append(dst, l.ids[len(l.ids)-n:]...)
	l.ids = l.ids[:len(l.ids)-n]
	return dst
}
