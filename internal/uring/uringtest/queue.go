//go:build linux

package uringtest

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

// queue is a completion queue, of the ring's thread alone.
type queue struct {
	size    int // slots
	mixed   bool
	used    int
	cqes    []uring.CQE
	backlog []uring.CQE // found no room
}

// slots is how much of the queue a completion takes.
func (q *queue) slots(c *uring.CQE) int {
	if c.Flags&uring.CQE32 != 0 {
		return 2
	}
	return 1
}

// tryPost adds a completion if there is room, as those of multishot requests are.
func (q *queue) tryPost(c uring.CQE) bool {
	if len(q.backlog) > 0 || q.used+q.slots(&c) > q.size {
		return false
	}
	q.used += q.slots(&c)
	q.cqes = append(q.cqes, c)
	return true
}

// post adds a completion that must not be lost.
func (q *queue) post(c uring.CQE) {
	if !q.tryPost(c) {
		q.backlog = append(q.backlog, c)
	}
}

// refill moves what found no room before, as far as there is some now.
func (q *queue) refill() {
	waiting := q.backlog
	q.backlog = nil
	for i := range waiting {
		q.post(waiting[i])
	}
}

func (q *queue) reap(dst []uring.CQE) int {
	n := copy(dst, q.cqes)
	for i := range n {
		q.used -= q.slots(&q.cqes[i])
	}
	q.cqes = append(q.cqes[:0], q.cqes[n:]...)
	return n
}

func (q *queue) ready() int { return q.used }

// remote is how other threads post completions: on a list, with an eventfd that the ring's thread polls.
type remote struct {
	mu    sync.Mutex
	efd   int
	list  []uring.CQE
	gone  bool
	spare []uring.CQE
}

func (r *remote) open() (err error) {
	if r.efd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("uringtest: eventfd: %w", err)
	}
	return nil
}

// post is for any goroutine.
func (r *remote) post(cqes ...uring.CQE) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return uring.ErrClosed
	}
	r.list = append(r.list, cqes...)
	_, err := unix.Write(r.efd, binary.NativeEndian.AppendUint64(nil, 1))
	return err
}

// take returns what was posted.
func (r *remote) take() []uring.CQE {
	r.mu.Lock()
	defer r.mu.Unlock()
	var word [8]byte
	// EAGAIN: nobody posted.
	_, _ = unix.Read(r.efd, word[:])
	taken := r.list
	r.list, r.spare = r.spare[:0], taken
	return taken
}

func (r *remote) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	return unix.Close(r.efd)
}
