package mem

import (
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// headRoom is the length in bytes of the memory for one frame's headers.
// Headers that are longer are not split off, as with a NIC.
const headRoom = 256

// A receiver is the device's receive side: it lays frames out in a pool's
// buffers.
type receiver struct {
	pool       *buf.Pool
	bufSize    int
	linkHeader int
	split      bool
	heads      []byte // headRoom for each frame of a batch

	// spare is buffers allocated and not filled: of a frame that wanted more
	// than there were. They are kept for it, so that a stalled receiver neither
	// frees buffers by itself, which would wake it, nor starts again from
	// nothing.
	spare   []uint16
	stalled int // buffers that the first frame waits for; 0: it does not

	frames, bytes, stalls uint64
}

func newReceiver(c *Config) receiver {
	size := c.Pool.Region().BufferSize()
	return receiver{
		pool: c.Pool, bufSize: size, linkHeader: c.LinkHeader, split: !c.NoSplit,
		spare: make([]uint16, 0, buffersFor(maxFrame, size)),
	}
}

// begin starts a batch of up to frames frames: the heads of the one before are
// no longer valid.
func (r *receiver) begin(frames int) {
	if r.split && len(r.heads) < frames*headRoom {
		r.heads = make([]byte, frames*headRoom)
	}
}

// outcome says what became of a frame.
type outcome uint8

const (
	taken outcome = iota
	noBuffers
	noRoom // in the batch
)

// take appends the frame s of q to b, in newly allocated buffers.
func (r *receiver) take(q *queue, s *slot, b *driver.Batch) outcome {
	var head []byte
	if r.split {
		at := len(b.Frames) * headRoom
		peek := r.heads[at : at+min(s.len, headRoom)]
		q.read(s, 0, peek)
		n := driver.HeaderLen(peek, s.len, r.linkHeader)
		head = peek[:n:n]
	}
	need := buffersFor(s.len-len(head), r.bufSize)
	first := len(b.Frags)
	if first+need > cap(b.Frags) {
		return noRoom
	}
	if !r.allocate(need) {
		return noBuffers
	}
	for off := len(head); off < s.len; {
		id := r.spare[len(r.spare)-1]
		r.spare = r.spare[:len(r.spare)-1]
		n := min(s.len-off, r.bufSize)
		q.read(s, off, r.pool.Region().Buffer(id)[:n])
		b.Frags = r.pool.AppendFrag(b.Frags, id, 0, n)
		off += n
	}
	b.Add(driver.Frame{
		Head:  head,
		Frags: b.Frags[first:len(b.Frags):len(b.Frags)],
		Len:   s.len, Checksum: s.check, GSOSize: int32(s.gsoSize),
	})
	r.frames++
	r.bytes += uint64(s.len)
	return taken
}

// allocate fills spare up to n buffers, or counts a stall.
func (r *receiver) allocate(n int) bool {
	if have := len(r.spare); have < n {
		r.spare = r.spare[:have+r.pool.Alloc(r.spare[have:n])]
	}
	if len(r.spare) >= n {
		r.stalled = 0
		return true
	}
	if r.stalled == 0 {
		r.stalls++
	}
	r.stalled = n
	return false
}

// mayTake reports whether a frame that is there may find buffers. Of a stalled
// receiver, the pool's owner will be told when buffers come back, if there are
// not enough now.
func (r *receiver) mayTake() bool {
	if r.stalled == 0 {
		return true
	}
	r.pool.WantReturn() // before the last look
	return r.pool.Free() >= r.stalled-len(r.spare)
}

func (r *receiver) addTo(s *driver.Stats) {
	s.RxFrames += r.frames
	s.RxBytes += r.bytes
	s.RxStalls += r.stalls
}

func (r *receiver) close() {
	for _, id := range r.spare {
		r.pool.Put(id)
	}
	r.spare = r.spare[:0]
}
