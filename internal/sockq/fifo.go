package sockq

import (
	"sync/atomic"

	"github.com/zctap/zctap/internal/reuse"
)

// chunkLen is the items of one chunk: small, since each connection has one; a
// 64 KiB segment in 4 KiB buffers fills one.
const chunkLen = 16

type chunk[T any] struct {
	items [chunkLen]T
	next  *chunk[T] // the producer links it before it publishes an item of next
}

// fifo is an unbounded single-producer, single-consumer queue in chunks. What
// bounds it is the number of buffers. It begins with a chunk of its own, and comes
// back to the first item of that whenever the consumer has taken everything: a queue
// that is emptied between batches, as most are, writes and reads the same few cache
// lines each time.
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
	restarts  uint32        // times that items began at own.items[0] again; the producer writes it before it publishes them

	// The consumer's.
	head     *chunk[T]
	base     uint32        // count of the items before head's first
	done     uint32        // items dropped
	seen     uint32        // published, when last looked at
	followed uint32        // restarts, when last looked at
	taken    atomic.Uint32 // items the consumer is done with; consumer stores, in settle, for the producer

	spare  atomic.Pointer[chunk[T]] // a used chunk, consumer → producer
	chunks *reuse.Pool[chunk[T]]    // behind spare
	own    chunk[T]
}

// init makes q ready. Chunks beyond its own are of pool.
func (q *fifo[T]) init(pool *reuse.Pool[chunk[T]]) {
	q.chunks = pool
	q.tail, q.head = &q.own, &q.own
}

// push appends v; it becomes visible with publish. Producer only.
func (q *fifo[T]) push(v T) {
	i := q.next()
	q.tail.items[i] = v
	q.at++
	q.wrote++
}

// pushAll is push for each of vs.
func (q *fifo[T]) pushAll(vs []T) {
	for len(vs) > 0 {
		n := copy(q.tail.items[q.next():], vs)
		q.at += uint32(n)
		q.wrote += uint32(n)
		vs = vs[n:]
	}
}

// next makes sure that tail has room, and returns the index of the next item there.
func (q *fifo[T]) next() uint32 {
	if q.at > 0 && q.taken.Load() == q.wrote {
		// Acquire: pairs with settle. The consumer reads no item, and none of what is
		// written here, until more is published; its head is tail.
		q.tail, q.at = &q.own, 0
		q.restarts++
	}
	if q.at == chunkLen {
		c := q.newChunk()
		q.tail.next = c
		q.tail, q.at = c, 0
	}
	return q.at
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
			if old := q.head; old != &q.own {
				q.retire(old)
			}
			q.head, q.base = &q.own, q.done
		}
	}
	if q.done-q.base == chunkLen {
		// The item is published, so the chunk it is in is linked, and the
		// producer is done with the one before.
		old := q.head
		q.head, q.base = old.next, q.done
		q.retire(old)
	}
	i := q.done - q.base
	return q.head.items[i:min(i+q.seen-q.done, chunkLen)]
}

// retire leaves a chunk that both sides are done with to later items.
func (q *fifo[T]) retire(c *chunk[T]) {
	c.next = nil
	if c == &q.own {
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
