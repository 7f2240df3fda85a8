//go:build linux

package xdp

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// A queue is one receive queue of the interface: a socket and its rings. The
// first of a driver sends, too.
type queue struct {
	id   int
	fd   int
	maps [][]byte // of the rings

	fill       fillRing
	rx         rxRing
	tx         txRing
	completion completionRing

	posted  int  // buffers with the kernel to receive into, those in rx included
	starved bool // the pool had fewer than fill had room for
	frames  uint64
}

// ringSizes are the sizes of a queue's rings. tx is 0 for a queue that does not
// send.
type ringSizes struct{ fill, rx, tx, completion uint32 }

// openSocket makes the socket of a queue, with its rings but not bound. It
// registers the UMEM if that is not nil.
func openSocket(id int, u *umem, s ringSizes) (q *queue, err error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("AF_XDP socket: %w%s", err, socketHint(err))
	}
	q = &queue{id: id, fd: fd}
	if err = q.setUp(u, s); err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

func (q *queue) setUp(u *umem, s ringSizes) error {
	if u != nil {
		if err := u.register(q.fd); err != nil {
			return err
		}
	}
	for _, r := range []struct {
		name   string
		option int
		size   uint32
	}{
		{"fill", unix.XDP_UMEM_FILL_RING, s.fill},
		{"completion", unix.XDP_UMEM_COMPLETION_RING, s.completion},
		{"RX", unix.XDP_RX_RING, s.rx},
		{"TX", unix.XDP_TX_RING, s.tx},
	} {
		if r.size == 0 {
			continue
		}
		if err := unix.SetsockoptInt(q.fd, unix.SOL_XDP, r.option, int(r.size)); err != nil {
			return fmt.Errorf("%s ring of %d entries: %w", r.name, r.size, err)
		}
	}
	if s.tx > 0 {
		// How many frames one system call may send in copy mode. A kernel without
		// the option (before 6.17) says so, and sends 32.
		err := unix.SetsockoptInt(q.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, int(s.tx))
		if err != nil && err != unix.ENOPROTOOPT {
			return fmt.Errorf("TX budget of %d frames: %w", s.tx, err)
		}
	}
	return q.mapRings(s)
}

func (q *queue) mapRings(s ringSizes) error {
	var off unix.XDPMmapOffsets
	if err := getXDP(q.fd, unix.XDP_MMAP_OFFSETS, &off); err != nil {
		return fmt.Errorf("XDP_MMAP_OFFSETS: %w", err)
	}
	w, addrs, err := mapInto[uint64](q, unix.XDP_UMEM_PGOFF_FILL_RING, &off.Fr, s.fill)
	if err == nil {
		q.fill.addrs = addrs
		q.fill.Producer, err = shring.NewProducer(w)
	}
	if err != nil {
		return fmt.Errorf("fill ring: %w", err)
	}
	w, descs, err := mapInto[unix.XDPDesc](q, unix.XDP_PGOFF_RX_RING, &off.Rx, s.rx)
	if err == nil {
		q.rx.descs = descs
		q.rx.Consumer, err = shring.NewConsumer(w)
	}
	if err != nil {
		return fmt.Errorf("RX ring: %w", err)
	}
	if s.tx == 0 {
		return nil
	}
	if w, descs, err = mapInto[unix.XDPDesc](q, unix.XDP_PGOFF_TX_RING, &off.Tx, s.tx); err == nil {
		q.tx.descs = descs
		q.tx.Producer, err = shring.NewProducer(w)
	}
	if err != nil {
		return fmt.Errorf("TX ring: %w", err)
	}
	if w, addrs, err = mapInto[uint64](q, unix.XDP_UMEM_PGOFF_COMPLETION_RING, &off.Cr, s.completion); err == nil {
		q.completion.addrs = addrs
		q.completion.Consumer, err = shring.NewConsumer(w)
	}
	if err != nil {
		return fmt.Errorf("completion ring: %w", err)
	}
	return nil
}

// mapInto maps a ring of q's socket.
func mapInto[E any](q *queue, page int64, off *unix.XDPRingOffset, entries uint32) (shring.Words, []E, error) {
	mem, w, ring, err := mapRing[E](q.fd, page, off, entries)
	if err == nil {
		q.maps = append(q.maps, mem)
	}
	return w, ring, err
}

// busyPoll has system calls on the socket run the interface's receive work.
func (q *queue) busyPoll(d time.Duration) error {
	const budget = 64 // frames a run, the kernel's NAPI_POLL_WEIGHT
	for _, o := range []struct {
		name          string
		option, value int
	}{
		{"SO_PREFER_BUSY_POLL", unix.SO_PREFER_BUSY_POLL, 1},
		{"SO_BUSY_POLL", unix.SO_BUSY_POLL, max(int(d.Microseconds()), 1)},
		{"SO_BUSY_POLL_BUDGET", unix.SO_BUSY_POLL_BUDGET, budget},
	} {
		if err := unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, o.option, o.value); err != nil {
			return fmt.Errorf("busy polling: %s: %w%s", o.name, err, busyPollHint(err))
		}
	}
	return nil
}

// bind binds the socket to its queue. If shared is not nil that is the queue
// whose UMEM, and with it whose mode, this one shares.
func (q *queue) bind(index int, flags uint16, shared *queue) error {
	sa := &unix.SockaddrXDP{Flags: flags, Ifindex: uint32(index), QueueID: uint32(q.id)}
	if shared != nil {
		sa.Flags, sa.SharedUmemFD = unix.XDP_SHARED_UMEM, uint32(shared.fd)
	}
	return unix.Bind(q.fd, sa)
}

// zeroCopy reports the mode that the kernel has the socket in.
func (q *queue) zeroCopy() (bool, error) {
	var flags uint32 // struct xdp_options
	if err := getXDP(q.fd, unix.XDP_OPTIONS, &flags); err != nil {
		return false, fmt.Errorf("XDP_OPTIONS: %w", err)
	}
	return flags&unix.XDP_OPTIONS_ZEROCOPY != 0, nil
}

// close closes the socket and unmaps its rings, which must not be used any more.
// The kernel lets go of the queue later: see releaseWatch.
func (q *queue) close() error {
	err := unix.Close(q.fd)
	for _, m := range q.maps {
		err = errors.Join(err, unix.Munmap(m))
	}
	q.maps, q.fd = nil, -1
	return err
}
