//go:build linux

package uringtest

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

// receive moves what a socket has into the area, a completion for each piece.
func (k *Kernel) receive(r *request) {
	q := r.ifq
	q.mu.Lock()
	defer q.mu.Unlock()
	r.dry, r.stalled = false, false
	for got := 0; got < skbsPerIssue; got++ {
		if got > 0 && r.woken && k.deaf() {
			r.stalled, r.unread = true, r.inqueue()
			return
		}
		want := q.size
		if k.o.Chunk > 0 {
			want = min(want, k.o.Chunk)
		}
		if r.left > 0 {
			want = min(want, int(r.left))
		}
		n, err := k.peek(r, want)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			return
		case err != nil || n == 0:
			k.end(r, result(0, err))
			return
		}
		token, mem, ok := q.room(n)
		if !ok {
			k.outOfBuffers(r, got > 0)
			return
		}
		c := uring.CQE{UserData: r.sqe.UserData, Res: int32(len(mem)), Flags: uring.CQEMore, Extra: [2]uint64{token}}
		if k.o.Mixed {
			c.Flags |= uring.CQE32
		}
		if !k.cq.tryPost(c) {
			k.overflows.Add(1)
			k.stop(r, unix.ENOSPC, got > 0)
			return
		}
		// Only now does it leave the socket. The copy is one that the race detector sees.
		if n, err = k.take(r, len(mem)); err != nil || n != len(mem) {
			panic("uringtest: a socket lost what it had: somebody else reads from it")
		}
		copy(mem, k.scratch[:n])
		q.fill(n)
		k.payload.Add(1)
		if !k.o.Device {
			k.copied(q, n)
		}
		if r.left > 0 {
			if r.left -= uint32(n); r.left == 0 {
				k.end(r, 0)
				return
			}
		}
	}
}

// outOfBuffers is what happens to a receive when none is free.
func (k *Kernel) outOfBuffers(r *request, progress bool) {
	if k.o.Device {
		r.dry = true
		r.ifq.tell(uring.ZCRXAllocFailed)
		return
	}
	k.stop(r, unix.ENOMEM, progress)
}

// stop ends a receive for want of something, or on kernels that stall just leaves it.
func (k *Kernel) stop(r *request, errno unix.Errno, progress bool) {
	if k.o.Stalls && r.woken && progress {
		r.stalled, r.unread = true, r.inqueue()
		return
	}
	k.end(r, -int32(errno))
}

// deaf reports whether it is time for a receive to stop for nothing.
func (k *Kernel) deaf() bool {
	return k.o.Stalls && k.o.Deaf > 0 && k.payload.Load()%uint64(k.o.Deaf) == 0
}

// copied counts and tells what did not come by a NIC.
func (k *Kernel) copied(q *ifq, n int) {
	if q.copies != nil {
		atomic.AddUint64(q.copies, 1)
		atomic.AddUint64(q.copiedBytes, uint64(n))
	}
	q.tell(uring.ZCRXCopied)
}

// peek returns how much the socket has, up to n.
func (k *Kernel) peek(r *request, n int) (int, error) { return k.recv(r, n, unix.MSG_PEEK) }

func (k *Kernel) take(r *request, n int) (int, error) { return k.recv(r, n, 0) }

func (k *Kernel) recv(r *request, n, flags int) (int, error) {
	if len(k.scratch) < n {
		k.scratch = make([]byte, n)
	}
	got, _, err := unix.Recvfrom(int(r.sqe.FD), k.scratch[:n], flags|unix.MSG_DONTWAIT)
	return got, err
}
