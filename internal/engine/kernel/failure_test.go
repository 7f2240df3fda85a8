//go:build linux

package kernel

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// When the kernel takes away what the loop waits with, everything ends with the
// reason, also what is armed, and Close tells it, too.
func TestLoopFailure(t *testing.T) {
	w := newWorld(t, readvVariant, options{})
	c, p := w.connect()
	w.ok(send(p, 10_000))
	w.eventually("data is queued", func() bool { return c.Queue().Buffered() == 10_000 })
	received := make(chan error, 1)
	other, _ := w.connect()
	go func() { received <- second(other.Queue().Recv(make([]buf.Iov, 1), 1)) }()
	accepted, datagram := make(chan error, 1), make(chan error, 1)
	packet := func() engine.PacketConn { return w.packet("udp", netip.AddrPort{}, netip.AddrPort{}) }
	ln, u := w.listen(0), packet()
	go func() { accepted <- second(ln.Backlog().Accept()) }()
	go func() { _, _, err := u.Queue().Recv(make([]buf.Iov, 1), make([]sockq.Message, 1)); datagram <- err }()
	armed := []*sockq.Source{&w.listen(0).Backlog().Source, &packet().Queue().Source, &c.Queue().Source}
	for _, s := range armed {
		s.Arm(w.cq, 1)
	}

	// Something that can't be waited on takes the place of the epoll instance;
	// then the loop is made to look.
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	w.ok(err)
	w.ok(unix.Dup3(null, w.loop.back.(*readv).epfd, unix.O_CLOEXEC))
	w.ok(unix.Close(null))
	w.ok(send(p, 1))

	for what, ended := range map[string]chan error{"Recv": received, "Accept": accepted, "Recv of datagrams": datagram} {
		if err := <-ended; !errors.Is(err, unix.EINVAL) {
			t.Errorf("blocked %s: %v", what, err)
		}
	}
	raised := map[*sockq.Source]bool{}
	for err == nil {
		err = w.cq.Next(func(s *sockq.Source) (again, more bool) {
			raised[s] = true
			return false, true
		})
	}
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("the completion queue: %v", err)
	}
	for i, s := range armed {
		if !raised[s] {
			t.Errorf("armed source %d was not raised", i)
		}
	}
	// So do calls that are made afterwards, but for what the application has closed.
	if _, err := c.Write([]byte("x")); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Write: %v", err)
	}
	if _, err := u.WriteTo([]byte("x"), netip.AddrPortFrom(u.LocalAddr().Addr(), 9)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Write of a datagram: %v", err)
	}
	if _, err := w.Dial(t.Context(), "tcp", netip.AddrPort{}, c.RemoteAddr()); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := w.ListenPacket("udp", netip.AddrPort{}, netip.AddrPort{}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("ListenPacket: %v", err)
	}
	w.ok(c.Close())
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	w.ok(w.Close()) // the failure was told
	if _, err := w.Dial(t.Context(), "tcp", c.LocalAddr(), c.RemoteAddr()); err == nil {
		t.Error("Dial works after the loop has failed")
	}
	w.census()
}
