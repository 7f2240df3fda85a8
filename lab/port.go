//go:build linux

package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// portGrace is how long the guest may leave the port full.
const portGrace = time.Minute

// socketPair returns the two ends of the port: ours, and the file that is QEMU's.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("lab: making the port's socket: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "port")
	f := os.NewFile(uintptr(fds[0]), "port")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("lab: making the port's socket: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

// A port is the runner's end of the socket. A guest that does not read makes
// writing fail after a while.
type port struct{ *net.UnixConn }

func (p *port) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(portGrace)); err != nil {
		return 0, err
	}
	return p.UnixConn.Write(b)
}

// servePort takes what the guest sends, until QEMU has ended.
func (vm *VM) servePort(conn io.Reader) {
	if err := vm.session.serve(conn); err != nil {
		vm.fail(err)
	}
	close(vm.served)
	select {
	case <-vm.qemu.done:
	case <-time.After(closeGrace):
		vm.fail(fmt.Errorf("%w: it closed the port, and goes on running", ErrGuest))
	}
}
