//go:build linux

package kernel

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// An eventfd wakes a thread that waits in the kernel.
type eventfd struct {
	mu sync.RWMutex // ring must not meet a descriptor that close has given back
	fd int
}

func newEventfd() (*eventfd, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &eventfd{fd: fd}, nil
}

var one = binary.NativeEndian.AppendUint64(nil, 1)

// ring makes fd readable. Nobody reads: each write is an edge to who watches for
// edges. Any goroutine.
func (e *eventfd) ring() {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.fd >= 0 {
		// Fails only when the counter is full, and then fd is readable.
		_, _ = unix.Write(e.fd, one)
	}
}

func (e *eventfd) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := unix.Close(e.fd)
	e.fd = -1
	return os.NewSyscallError("close", err)
}
