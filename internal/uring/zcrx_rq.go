//go:build linux

package uring

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// RefillEntry is struct io_uring_zcrx_rqe, an entry of the refill ring. The application writes it before it publishes
// the tail; the kernel only reads it.
type RefillEntry struct {
	Token uint64 // ZCData.Token
	Len   uint32 // the kernel does not look at it
	Pad   uint32 // must be 0, or the kernel skips the entry
}

const refillEntrySize = 16 // of struct io_uring_zcrx_rqe

// RQ is the refill ring of an interface queue: the way of buffers back to the kernel. One goroutine at a time may use it;
// it need not be the ring's thread.
type RQ struct {
	p       *shring.Producer
	entries []RefillEntry
	pending uint32 // written, not yet published
	mapped  []byte // the kernel's memory, which we have to unmap; nil with ZCRXConfig.RefillMemory
}

// Capacity returns how many entries the ring holds.
func (q *RQ) Capacity() int { return len(q.entries) }

// Room is where the next entries are to be written, n at most: as many as there is room for, and as lie in a row. Those that
// are, are said so (Wrote); the kernel sees them at the next Publish. If there is no room Flush, or keep the tokens that are left
// until the kernel has consumed.
//
// An entry is a token of a completion (ZCData.Token), or any place in the same buffer. The kernel takes one reference from the
// buffer for each entry, and skips entries without a word that are wrong: outside of every area, or of a buffer that the
// application does not have. A buffer given back twice while others are still in use would go to the NIC too early, so the caller
// counts.
func (q *RQ) Room(n int) []RefillEntry {
	if n = q.Space(n); n == 0 {
		return nil
	}
	start, _ := q.p.Reserve(0)
	entries := q.entries[(start+q.pending)&q.p.Mask():]
	return entries[:min(len(entries), n)]
}

// Wrote says that the first n entries of what Room returned last are whole.
func (q *RQ) Wrote(n int) { q.pending += uint32(n) }

// Publish shows the kernel what was written since the last Publish. Once a batch is enough.
func (q *RQ) Publish() {
	if q.p == nil {
		return
	}
	// Submit stores the tail with release semantics. It pairs with the kernel's smp_load_acquire of the tail
	// (zcrx_rq_entries), which so sees whole entries.
	q.p.Submit(q.pending)
	q.pending = 0
}

// Space returns how many entries can be written now. It looks at the shared word only if n are not known to be free: ask for as
// many as are wanted.
func (q *RQ) Space(n int) int {
	if q.p == nil || n <= 0 {
		return 0
	}
	n = min(n, len(q.entries))
	// Reserve loads the kernel's head with acquire semantics where it has to. It pairs with the kernel's smp_store_release of
	// the head, after which it does not read the entries again.
	_, got := q.p.Reserve(q.pending + uint32(n))
	return int(got - q.pending)
}

// InFlight returns how many published entries the kernel has not consumed.
func (q *RQ) InFlight() int {
	if q.p == nil {
		return 0
	}
	return int(q.p.InFlight())
}

// Corruptions returns how many times the kernel's index was impossible and was ignored.
func (q *RQ) Corruptions() uint64 {
	if q.p == nil {
		return 0
	}
	return q.p.Corruptions()
}

// close makes the ring one that is always full.
func (q *RQ) close() error {
	mem := q.mapped
	q.p, q.entries, q.pending, q.mapped = nil, nil, 0, nil
	if mem == nil {
		return nil
	}
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("uring: munmap of a refill ring: %w", err)
	}
	return nil
}
