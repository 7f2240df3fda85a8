package sockq

import (
	"sync/atomic"

	"github.com/zctap/zctap/internal/reuse"
)

// chunkLen is the items of one chunk: small, since an idle connection keeps
// one; a 64 KiB segment in 4 KiB buffers fills one.
const chunkLen = 16

type chunk[T any] struct {
	items [chunkLen]T
	next  *chunk[T] // the producer links it before it publishes an item of next
}

// fifo is an unbounded single-producer, single-consumer queue in chunks. What
// bounds it is the number of buffers.
type fifo[T any] struct {
	// The producer's.
	tail  *chunk[T]
	first *chunk[T] // set before the first publish
	wrote uint64    // items pushed, published or not

	// Shared.
	published atomic.Uint64            // items the consumer may read; producer stores
	taken     atomic.Uint64            // items the consumer is done with; consumer stores, in settle
	spare     atomic.Pointer[chunk[T]] // a used chunk, consumer → producer

	// The consumer's.
	head *chunk[T]
	base uint64 // index of head's first item
	done uint64 // items dropped
	seen uint64 // published, when last looked at

	chunks *reuse.Pool[chunk[T]] // behind spare
}

// push appends v; it becomes visible with publish. Producer only.
func (q *fifo[T]) push(v T) {
	i := q.wrote % chunkLen
	if i == 0 {
		c := q.newChunk()
		if q.tail == nil {
			q.first = c
		} else {
			q.tail.next = c
		}
		q.tail = c
	}
	q.tail.items[i] = v
	q.wrote++
}

// pushAll is push for each of vs.
func (q *fifo[T]) pushAll(vs []T) {
	for len(vs) > 0 {
		i := q.wrote % chunkLen
		if i == 0 {
			q.push(vs[0])
			vs = vs[1:]
			continue
		}
		n := copy(q.tail.items[i:], vs)
		q.wrote += uint64(n)
		vs = vs[n:]
	}
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
	q.published.Store(q.wrote) // release: pairs with the load in peek
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
	}
	switch {
	case q.head == nil:
		q.head = q.first
	case q.done-q.base == chunkLen:
		// The item is published, so the chunk it is in is linked, and the
		// producer is done with the one before.
		old := q.head
		q.head, q.base = old.next, q.done
		old.next = nil
		if old = q.spare.Swap(old); old != nil {
			q.chunks.Put(old)
		}
	}
	i := q.done - q.base
	return q.head.items[i:min(i+q.seen-q.done, chunkLen)]
}

// drop takes the item that peek returned last. Consumer only.
func (q *fifo[T]) drop() { q.done++ }

// dropN takes the first n that run returned last. Consumer only.
func (q *fifo[T]) dropN(n int) { q.done += uint64(n) }

// settle tells the others what was dropped. Once a batch, consumer only.
func (q *fifo[T]) settle() { q.taken.Store(q.done) }
