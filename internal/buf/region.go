package buf

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"
)

// MaxBuffers is the most buffers a region can have: buffer ids are 16 bits, as
// in the RFC's iov (patch 4 has the limit and forgets to enforce it).
const MaxBuffers = 1 << 16

// A Kind says where a region's memory comes from.
type Kind uint8

// Kinds of region memory.
const (
	Mapped   Kind = iota // anonymous mmap, ordinary pages
	Huge                 // anonymous mmap, huge pages
	Supplied             // the caller's own memory; never unmapped
	Heap                 // Go heap: seen by the race detector, unusable for a kernel ring
)

func (k Kind) String() string {
	switch k {
	case Mapped:
		return "mmap"
	case Huge:
		return "mmap, huge pages"
	case Supplied:
		return "supplied by the caller"
	case Heap:
		return "heap"
	}
	return "unknown"
}

// RegionConfig says what memory a region is made of. The zero value with
// Buffers set is an anonymous mapping, of huge pages if the system has some to
// give.
type RegionConfig struct {
	// Buffers is the number of buffers, 1 to MaxBuffers. With Memory it may be
	// 0: as many as Memory holds.
	Buffers int
	// BufferSize is the size of one in bytes: a power of two and at least the
	// system's page size, which is the default.
	BufferSize int
	// Memory, if not nil, is the caller's own memory, page-aligned and a whole
	// number of buffers long, mapped and writable. It must stay so until the
	// region is freed, and belongs to the region until then.
	Memory []byte
	// Heap asks for Go heap memory, for tests under the race detector.
	Heap bool
	// NoHugePages keeps the region on ordinary pages.
	NoHugePages bool
}

// A Region is the frame backing store: page-aligned memory in buffers of equal
// size. It is immutable; who owns which buffer is a Pool's business.
type Region struct {
	mem     []byte
	base    uintptr // address of mem[0]; mmap'ed, supplied or pinned by mem
	bufSize uint32
	shift   uint8 // log2(bufSize)
	count   uint32
	id      uint16
	kind    Kind

	freeOnce sync.Once
	freeErr  error
}

// NewRegion makes a region. Errors, all with nothing left behind: EINVAL for
// sizes and alignment, EFAULT for Memory that is not mapped writable, EEXIST
// for Memory that overlaps another region's, ENOMEM, ENOSPC when 65,535 regions
// are in use.
func NewRegion(c RegionConfig) (*Region, error) {
	page := os.Getpagesize()
	if c.BufferSize == 0 {
		c.BufferSize = page
	}
	if c.BufferSize < page || c.BufferSize&(c.BufferSize-1) != 0 || c.BufferSize > 1<<30 {
		return nil, invalid("buffer size %d is not a power of two from %d (a page) to 1 GiB", c.BufferSize, page)
	}
	if c.Memory != nil {
		if len(c.Memory)%c.BufferSize != 0 {
			return nil, invalid("memory of %d bytes is not a whole number of %d-byte buffers", len(c.Memory), c.BufferSize)
		}
		have := len(c.Memory) / c.BufferSize
		if c.Buffers == 0 {
			c.Buffers = have
		}
		if c.Buffers != have {
			return nil, invalid("memory holds %d buffers, %d are asked for", have, c.Buffers)
		}
	}
	if c.Buffers < 1 || c.Buffers > MaxBuffers {
		return nil, invalid("%d buffers: a region has 1 to %d", c.Buffers, MaxBuffers)
	}
	if c.Buffers > (math.MaxInt-page)/c.BufferSize { // on 32-bit machines
		return nil, fmt.Errorf("buf: %d buffers of %d bytes are more than there are addresses: %w", c.Buffers, c.BufferSize, syscall.ENOMEM)
	}
	r := &Region{bufSize: uint32(c.BufferSize), shift: log2(c.BufferSize), count: uint32(c.Buffers)}
	if err := r.acquire(c, page); err != nil {
		return nil, err
	}
	r.base = addressOf(r.mem)
	id, err := regions.add(r)
	if err != nil {
		return nil, errors.Join(err, r.release())
	}
	r.id = id
	return r, nil
}

// acquire gives r its memory.
func (r *Region) acquire(c RegionConfig, page int) error {
	size := c.Buffers * c.BufferSize
	switch {
	case c.Memory != nil:
		if addressOf(c.Memory)%uintptr(page) != 0 {
			return invalid("memory at %#x is not aligned to a page of %d bytes", addressOf(c.Memory), page)
		}
		if err := probeWritable(c.Memory, page); err != nil {
			return fmt.Errorf("buf: memory is not mapped writable: %w", err)
		}
		r.mem, r.kind = c.Memory[:size:size], Supplied
	case c.Heap:
		m := make([]byte, size+page)
		off := int(-addressOf(m) & uintptr(page-1))
		r.mem, r.kind = m[off:off+size:off+size], Heap
	default:
		m, kind, err := mapMemory(size, !c.NoHugePages)
		if err != nil {
			return fmt.Errorf("buf: map a region of %d bytes: %w", size, err)
		}
		r.mem, r.kind = m, kind
	}
	return nil
}

// release gives the memory back to where it came from.
func (r *Region) release() error {
	if r.kind == Mapped || r.kind == Huge {
		return unmapMemory(r.mem)
	}
	return nil
}

// Free unregisters the region and unmaps its memory if zctap mapped it. The
// caller proves that no view and no driver uses it any more; a Pool does so by
// its references. Calls after the first do nothing and return the same error.
func (r *Region) Free() error {
	r.freeOnce.Do(func() {
		regions.remove(r)
		r.freeErr = r.release()
	})
	return r.freeErr
}

// ID is the region's number, unique in the process while the region lives and
// never 0.
func (r *Region) ID() uint16 { return r.id }

// Count is the number of buffers.
func (r *Region) Count() int { return int(r.count) }

// BufferSize is the size of a buffer in bytes.
func (r *Region) BufferSize() int { return int(r.bufSize) }

// Kind says where the memory comes from.
func (r *Region) Kind() Kind { return r.kind }

// Memory is all of the region's memory. Who may touch which part of it is what
// buffer references say.
func (r *Region) Memory() []byte { return r.mem }

// Buffer is the whole of one buffer. The caller owns a reference to it.
// It panics if id is not below Count.
func (r *Region) Buffer(id uint16) []byte {
	off := int(id) << r.shift
	return r.mem[off : off+int(r.bufSize) : off+int(r.bufSize)]
}

// View is the bytes that f names, with cap == len so that append can't reach a
// neighbour. The caller owns a reference to f's buffer; f is one of this
// region's, made by its Pool (View panics on bounds, but does not check ids).
func (r *Region) View(f Frag) []byte { return r.view(&f) }

func (r *Region) view(f *Frag) []byte { return f.in(r.mem, r.shift) }

// Place is where in Memory the bytes begin that f names, which is as View has it; of another frag
// it may be no place in Memory.
func (r *Region) Place(f *Frag) int {
	return int(f.buffer)*int(r.bufSize) + int(f.off&^copiedBit)
}

// in is the bytes that f names in mem, all of a region with buffers of 1<<shift bytes.
func (f *Frag) in(mem []byte, shift uint8) []byte {
	off := int(f.buffer)<<(shift&63) + int(f.off&^copiedBit) // &63: the compiler does not know
	end := off + int(f.len)
	return mem[off:end:end]
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("buf: "+format+": %w", append(args, syscall.EINVAL)...)
}

func log2(n int) (s uint8) {
	for 1<<s < n {
		s++
	}
	return s
}
