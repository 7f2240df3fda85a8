// Package shring is the cursor of a ring shared between two sides that trust each other to keep time
// but not to be right: one producer, one consumer, entries in memory that both have mapped. Each ring that the
// kernel shares with zctap moves on this one type: io_uring's submission and completion queues, its zero-copy
// refill ring, and AF_XDP's fill, completion, RX and TX rings.
//
// # How such a ring works
//
// A ring is an array of Size entries (a power of two) and two 32-bit words, the producer index and the
// consumer index. Both run freely: they count entries since the ring was made and wrap at 2^32, never at Size.
// Entry i lives in slot i & (Size-1), and the ring holds producer-consumer entries, computed modulo 2^32, so
// that 0 is empty and Size is full with no slot wasted and no flag.
//
//	slot:      0   1   2   3   4   5   6   7        Size = 8
//	         [ . | . | a | b | c | . | . | . ]
//	                   ^consumer = 10    ^producer = 13     3 entries
//
// Each word has one writer. The producer writes entries, then publishes them with one store-release of its
// index; the consumer's load-acquire of that index makes the entries visible. The other way round the
// consumer's store-release of its index hands slots back, and the producer's load-acquire of it proves that the
// consumer has read them before they are overwritten. There is no lock and no compare-and-swap.
//
// # Rules
//
//   - One goroutine at a time owns a Producer or a Consumer. The two sides of a ring may run at once.
//   - Both sides keep a private copy of the other's index and look at the shared word only when the copy does
//     not show enough room: on a busy ring that is once a batch, and the cache line stays where it is.
//   - Publishing is once a batch too: fill as many entries as there are, then call Submit or Release once.
//   - The own index is never read back from shared memory, so a peer that scribbles over it confuses only itself.
//   - The peer's index is believed only if it moved forward and stayed within what this side made possible.
//     Anything else is counted as a corruption (Corruptions, Err) and ignored: the ring looks full or empty
//     until the peer shows a possible index again, and no slot is read or written that was not handed over.
//
// sync/atomic is sequentially consistent, which is stronger than the acquire and release that the protocol
// asks for. The one place that needs more than acquire and release is NeedsWakeup, see there.
//
// The entries themselves are the business of the caller, who indexes them with start+i & Mask().
// The race detector does not watch mapped memory: tests of code that crosses threads put the words and the
// entries on the heap and play the kernel with the opposite end (NewConsumer on a Producer's Words or the reverse).
package shring
