package tcp

import "github.com/zctap/zctap/internal/reuse"

// Sizes of send blocks: a small one for the request or answer that fits, large
// ones, of the length of a super-segment, for bulk.
const (
	smallBlock = 4 << 10
	largeBlock = 64 << 10
)

// A sendBlock is memory of a SendBuffer.
type sendBlock struct {
	mem   []byte     // writers fill it once, in order
	start uint64     // stream offset of mem[0]
	next  *sendBlock // set by a writer before anything in next is published
}

var smallBlocks, largeBlocks reuse.Pool[sendBlock]

// newSendBlock makes a block that starts at stream offset start.
func newSendBlock(start uint64, large bool) *sendBlock {
	pool, size := &smallBlocks, smallBlock
	if large {
		pool, size = &largeBlocks, largeBlock
	}
	b := pool.Get()
	if b == nil {
		b = &sendBlock{mem: make([]byte, size)}
	}
	b.start = start
	return b
}

// end is the stream offset behind the block.
func (b *sendBlock) end() uint64 { return b.start + uint64(len(b.mem)) }

// release gives the block back, to m if m counts it.
func (b *sendBlock) release(m *sendMemory) {
	b.next = nil
	if len(b.mem) == smallBlock {
		smallBlocks.Put(b)
	} else {
		largeBlocks.Put(b)
		m.give()
	}
}
