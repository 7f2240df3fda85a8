//go:build linux

package uring

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// maxPinned is the largest piece of memory that is pinned at a time (SZ_1G, io_buffer_validate).
const maxPinned = 1 << 30

// pinPatience is for how long TryPin waits for rings that were closed, by us or a process that has ended: what they had pinned
// counts until the kernel comes to it (12 to 21 ms later on Linux 6.18, two busy CPUs).
const pinPatience = 500 * time.Millisecond

// TryPin has the kernel pin memory and let go of it again, and says whether RLIMIT_MEMLOCK is in the way: ENOMEM then, with what
// to do. Nothing else tells beforehand: the limit is one for all that a user's processes have pinned without CAP_IPC_LOCK, and the
// kernel shows that sum nowhere. It pins fixed buffers, which count as the area and the refill ring of an interface queue do, and
// stop counting before TryPin returns. With CAP_IPC_LOCK nothing counts, and nothing is tried. If it can't be tried it returns nil,
// too, and RegisterZCRX will tell.
//
// Linux 6.15 before its 7th update did not count areas, so there it may take for too much what would just have gone.
//
// memory is mapped, in whole pages, and stays the caller's; pages that nobody has touched yet are there afterwards.
func TryPin(memory ...[]byte) error {
	if mayPin() {
		return nil
	}
	var pieces []unix.Iovec
	total := 0
	for _, m := range memory {
		total += len(m)
		for len(m) > 0 {
			n := min(len(m), maxPinned)
			piece := unix.Iovec{Base: &m[0]}
			piece.SetLen(n)
			pieces, m = append(pieces, piece), m[n:]
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	var refused error
	err := withProbeRing(func(r *Ring) error {
		errno := registerStruct(r.fd, registerBuffers, &pieces[0], uint32(len(pieces)))
		for end := time.Now().Add(pinPatience); errno == unix.ENOMEM && time.Now().Before(end); {
			time.Sleep(pinPatience / 100)
			errno = registerStruct(r.fd, registerBuffers, &pieces[0], uint32(len(pieces)))
		}
		if errno != 0 {
			if errno == unix.ENOMEM {
				refused = fmt.Errorf("%w: %s", wrapRegister(fmt.Sprintf("BUFFERS, %d KiB", total>>10), errno), pinHint())
			}
			return nil
		}
		if _, errno := sysRegister(r.fd, unregisterBuffers, nil, 0); errno != 0 {
			return wrapRegister("UNREGISTER_BUFFERS", errno) // closing the ring lets go of them, too, but later
		}
		return nil
	})
	if refused == nil && errors.Is(err, unix.ENOMEM) {
		return err // the ring itself
	}
	return refused
}

// mayPin reports whether the calling thread has CAP_IPC_LOCK.
func mayPin() bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	return unix.Capget(&h, &d[0]) == nil && d[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}

// pinHint says why memory can't be pinned.
func pinHint() string {
	now := ""
	if l := (unix.Rlimit{}); unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) == nil && l.Cur != unix.RLIM_INFINITY {
		now = fmt.Sprintf(", now %d KiB", l.Cur>>10)
	}
	return fmt.Sprintf("the area does not fit under RLIMIT_MEMLOCK (ulimit -l)%s, or memory is short: take a smaller one, or CAP_IPC_LOCK", now)
}
