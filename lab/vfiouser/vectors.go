//go:build linux

package vfiouser

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A vector is one MSI-X interrupt.
type vector struct {
	fd      int // the client's eventfd, ours to close; -1 if it has set up none
	masked  bool
	pending bool // signalled while masked
}

// vectors are the MSI-X interrupts of a device. The zero value has none.
type vectors []vector

func newVectors(n int) vectors {
	vs := make(vectors, n)
	for i := range vs {
		vs[i].fd = -1
	}
	return vs
}

// signal signals vector v, if there is one and the client has set it up.
func (vs vectors) signal(v int) {
	if v < 0 || v >= len(vs) || vs[v].fd < 0 {
		return
	}
	if vs[v].masked {
		vs[v].pending = true
		return
	}
	notify(vs[v].fd)
}

// set gives vector v an eventfd, which it owns from here on, in place of the
// one before; -1 for none.
func (vs vectors) set(v, fd int) {
	if old := vs[v].fd; old >= 0 {
		unix.Close(old)
	}
	vs[v].fd = fd
	if fd < 0 {
		vs[v].pending = false
	}
}

func (vs vectors) mask(v int) { vs[v].masked = true }

func (vs vectors) unmask(v int) {
	vs[v].masked = false
	if vs[v].pending {
		vs[v].pending = false
		vs.signal(v)
	}
}

// reset forgets masks and what is pending. The eventfds stay: they say how the
// client listens, not what state the device is in.
func (vs vectors) reset() {
	for i := range vs {
		vs[i].masked, vs[i].pending = false, false
	}
}

// close disables all vectors.
func (vs vectors) close() {
	for i := range vs {
		vs.set(i, -1)
	}
}

// eventfdName is what the kernel calls an eventfd in /proc/self/fd, from
// anon_inode_getfile in fs/eventfd.c.
const eventfdName = "anon_inode:[eventfd]"

// checkEventfd fails unless fd is an eventfd, which it makes non-blocking. A
// write to whatever else the client may have sent could block or have effects.
func checkEventfd(fd int) error {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("what is behind an interrupt's descriptor: %w", err)
	}
	if name != eventfdName {
		return fmt.Errorf("an interrupt's descriptor is %q, not an eventfd: %w", name, unix.EINVAL)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("interrupt's eventfd: %w", err)
	}
	return nil
}

var one = func() []byte { // what adds 1 to an eventfd's counter, in native byte order
	b := make([]byte, 8)
	ne.PutUint64(b, 1)
	return b
}()

// notify signals an eventfd. If its counter is full there is a signal that the
// client has not seen yet, which stands for this one too: nothing is lost.
//
// The poll is for a client that makes the eventfd, whose flags are its own as
// well, blocking again and fills it: without room there is no write.
func notify(fd int) {
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(poll[:], 0)
		if err == nil && n == 1 && poll[0].Revents&unix.POLLOUT != 0 {
			_, err = unix.Write(fd, one)
		}
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// pendingBits fills p with the pending bit array from byte off on.
func (vs vectors) pendingBits(off uint64, p []byte) {
	for i := range p {
		p[i] = 0
		for bit := range 8 {
			if v := (int(off)+i)*8 + bit; v < len(vs) && vs[v].pending {
				p[i] |= 1 << bit
			}
		}
	}
}
