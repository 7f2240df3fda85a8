package sockq

import (
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/reuse"
)

const (
	// ownLen is the items that a fifo has room for itself: few, since each connection has
	// it; a 64 KiB segment in 4 KiB buffers fills it.
	ownLen = 16
	// chunkLen is the items of one chunk: with a fifo's own as many as a consumer takes at a
	// time.
	chunkLen = 48
)

type chunk[T any] struct {
	items [chunkLen]T
	next  *chunk[T] // the producer links it before it publishes an item of next
}

// fifo is an unbounded single-producer, single-consumer queue in chunks. What
// bounds it is the number of buffers. It begins with room of its own, and comes
// back to the first item of that whenever the consumer has taken everything: a queue
// that is emptied between batches, as most are, writes and reads the same few cache
// lines each time. Where a chunk is nil it is that room.
//
// Counts of items wrap: only their differences are looked at. The order of the fields
// is that of the cache lines of a Queue, which see.
type fifo[T any] struct {
	// The producer's.
	tail  *chunk[T]
	wrote uint32 // items pushed, published or not
	at    uint32 // index in tail of the next one

	// Shared.
	published atomic.Uint32 // items the consumer may read; producer stores
	restarts  uint32        // times that items began at own[0] again; the producer writes it before it publishes them

	// The consumer's.
	head     *chunk[T]
	base     uint32        // count of the items before head's first
	done     uint32        // items dropped
	seen     uint32        // published, when last looked at
	followed uint32        // restarts, when last looked at
	taken    atomic.Uint32 // items the consumer is done with; consumer stores, in settle, for the producer

	spare  atomic.Pointer[chunk[T]] // a used chunk, consumer → producer
	chunks *reuse.Pool[chunk[T]]    // behind spare
	own    [ownLen]T
	beyond *chunk[T] // behind own; the producer links it, as chunk.next
}

// init makes q ready. Its chunks are of pool.
func (q *fifo[T]) init(pool *reuse.Pool[chunk[T]]) { q.chunks = pool }

// slots are c's.
func (q *fifo[T]) slots(c *chunk[T]) []T {
	if c == nil {
		return q.own[:]
	}
	return c.items[:]
}

// link is where the chunk behind c is.
func (q *fifo[T]) link(c *chunk[T]) **chunk[T] {
	if c == nil {
		return &q.beyond
	}
	return &c.next
}

// push appends v; it becomes visible with publish. Producer only.
func (q *fifo[T]) push(v T) {
	q.room()[0] = v
	q.at++
	q.wrote++
}

// pushAll is push for each of vs.
func (q *fifo[T]) pushAll(vs []T) {
	for len(vs) > 0 {
		n := copy(q.room(), vs)
		q.at += uint32(n)
		q.wrote += uint32(n)
		vs = vs[n:]
	}
}

// room is where the next items go, one at least.
func (q *fifo[T]) room() []T {
	if q.at > 0 && q.taken.Load() == q.wrote {
		// Acquire: pairs with settle. The consumer reads no item, and none of what is
		// written here, until more is published; its head is tail.
		q.tail, q.at = nil, 0
		q.restarts++
	}
	slots := q.slots(q.tail)
	if int(q.at) == len(slots) {
		c := q.newChunk()
		*q.link(q.tail) = c
		q.tail, q.at = c, 0
		slots = c.items[:]
	}
	return slots[q.at:]
}

func (q *fifo[T]) newChunk() *chunk[T] {
	if c := q.spare.Swap(nil); c != nil {
		return c
	}
	if c := q.chunks.Get(); c != nil {
		return c
	}
	return new(chunk[T])
}

// publish makes what was pushed visible and reports whether there was any.
// Producer only.
func (q *fifo[T]) publish() bool {
	if q.published.Load() == q.wrote {
		return false
	}
	q.published.Store(q.wrote) // release: pairs with the load in run
	return true
}

// len is the number of published items not yet taken: exact to the producer and
// the consumer, a moment's reading to others.
func (q *fifo[T]) len() int {
	taken := q.taken.Load() // first, so that it is never beyond published
	return int(q.published.Load() - taken)
}

// peek is the oldest published item, or nil. It is the consumer's until drop.
// Consumer only.
func (q *fifo[T]) peek() *T {
	run := q.run()
	if len(run) == 0 {
		return nil
	}
	return &run[0]
}

// run is the oldest published items, as far as they lie in a row; none only if
// there are none. They are the consumer's until they are dropped. Consumer only.
func (q *fifo[T]) run() []T {
	if q.done == q.seen {
		q.seen = q.published.Load() // acquire: pairs with publish
		if q.done == q.seen {
			return nil
		}
		if q.followed != q.restarts {
			// By one: before the next, all of this has to be taken.
			q.followed = q.restarts
			if old := q.head; old != nil {
				q.retire(old) // of its own the producer may have linked the next by now
			}
			q.head, q.base = nil, q.done
		}
	}
	slots := q.slots(q.head)
	if int(q.done-q.base) == len(slots) {
		// The item is published, so the chunk it is in is linked, and the
		// producer is done with the one before.
		old := q.head
		q.head, q.base = *q.link(old), q.done
		q.retire(old)
		slots = q.head.items[:]
	}
	i := int(q.done - q.base)
	return slots[i:min(i+int(q.seen-q.done), len(slots))]
}

// reached reports whether all was dropped that run has seen. Consumer only.
func (q *fifo[T]) reached() bool { return q.done == q.seen }

// retire leaves a chunk that both sides are done with to later items.
func (q *fifo[T]) retire(c *chunk[T]) {
	*q.link(c) = nil
	if c == nil {
		return // until the next restart
	}
	if c = q.spare.Swap(c); c != nil {
		q.chunks.Put(c)
	}
}

// drop takes the item that peek returned last. Consumer only.
func (q *fifo[T]) drop() { q.done++ }

// dropN takes the first n that run returned last. Consumer only.
func (q *fifo[T]) dropN(n int) { q.done += uint32(n) }

// settle tells the others what was dropped. Once a batch, consumer only.
func (q *fifo[T]) settle() { q.taken.Store(q.done) }
