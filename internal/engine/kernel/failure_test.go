//go:build linux

package kernel

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
)

// When the kernel takes away what the loop waits with, everything ends as with
// Close, and Close says why.
func TestLoopFailure(t *testing.T) {
	w := newWorld(t, readvVariant, options{})
	c, p := w.connect()
	w.ok(send(p, 10_000))
	w.eventually("data is queued", func() bool { return c.Queue().Buffered() == 10_000 })
	received := make(chan error, 1)
	other, _ := w.connect()
	go func() { received <- second(other.Queue().Recv(make([]buf.Iov, 1), 1)) }()

	// Something that can't be waited on takes the place of the epoll instance;
	// then the loop is made to look.
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	w.ok(err)
	w.ok(unix.Dup3(null, w.loop.back.(*readv).epfd, unix.O_CLOEXEC))
	w.ok(unix.Close(null))
	w.ok(send(p, 1))

	if err := <-received; !errors.Is(err, net.ErrClosed) {
		t.Errorf("blocked Recv: %v", err)
	}
	if err := w.Close(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Close: %v", err)
	}
	if _, err := w.Dial(t.Context(), "tcp", c.LocalAddr(), c.RemoteAddr()); err == nil {
		t.Error("Dial works after the loop has failed")
	}
	w.census()
	w.loop.failure = nil // told; the test's end closes once more
}
