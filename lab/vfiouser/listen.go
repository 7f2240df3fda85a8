//go:build linux

package vfiouser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener is a unix socket that clients of one device connect to.
type Listener struct {
	l     *net.UnixListener
	path  string
	close func() error // once: whoever closes second waits for the first
}

// Listen makes a unix socket at path, which only this user can connect to: the
// client may read and write all that the device can. A socket that a process
// left there when it was killed is replaced; anything else at path is an error.
func Listen(path string) (*Listener, error) {
	l, err := listenPrivate(path)
	if errors.Is(err, unix.EADDRINUSE) && removeStale(path) {
		l, err = listenPrivate(path)
	}
	if err != nil {
		return nil, fmt.Errorf("vfiouser: %w", err)
	}
	return &Listener{l: l, path: path, close: sync.OnceValue(l.Close)}, nil
}

// listenPrivate makes the socket with mode 0600 from the start: bind(2) gives
// the file the mode that the socket itself has (unix_bind_bsd, net/unix/af_unix.c).
func listenPrivate(path string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// removeStale removes the socket at path if nobody listens to it.
func removeStale(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode()&os.ModeSocket == 0 {
		return false
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, unix.ECONNREFUSED) && os.Remove(path) == nil
}

// Path is where the socket is: the "path" of QEMU's vfio-user-pci.
func (l *Listener) Path() string { return l.path }

// Close closes the socket and removes it from the file system. It does not end
// the connection of a client that is being served.
func (l *Listener) Close() error {
	if err := l.close(); err != nil {
		return fmt.Errorf("vfiouser: %w", err)
	}
	return nil
}

// Serve serves s to one client after the other, until ctx ends (its cause) or l
// is closed (net.ErrClosed). A client that connects while another is served
// waits. After each, ended, if not nil, is called with what ServeConn returned.
// At the end l is closed.
func (l *Listener) Serve(ctx context.Context, s *Server, ended func(error)) error {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("vfiouser: waiting for a client: %w", err)
		}
		err = s.ServeConn(ctx, conn)
		if ended != nil {
			ended(err)
		}
	}
}
