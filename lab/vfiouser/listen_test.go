//go:build linux

package vfiouser_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// listen makes a listener in a folder of the test's.
func listen(t *testing.T, path string) *vfiouser.Listener {
	t.Helper()
	l, err := vfiouser.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestListen: clients are served one after the other, and the socket is gone
// at the end.
func TestListen(t *testing.T) {
	noNewFDs(t)
	path := filepath.Join(t.TempDir(), "nic")
	l := listen(t, path)
	if fi, err := os.Stat(l.Path()); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v; want mode 0600", fi, err)
	}
	dev := newDevice()
	s, err := vfiouser.NewServer(dev)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	clients, ended := make(chan error, 3), make(chan error, 1)
	go func() { ended <- l.Serve(ctx, s, func(err error) { clients <- err }) }()

	first, err := vfiousertest.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan *vfiousertest.Client)
	go func() {
		defer close(waiting)
		if c, err := vfiousertest.Dial(path); err != nil {
			t.Errorf("the second client: %v", err)
		} else {
			waiting <- c
		}
	}()
	select {
	case <-waiting:
		t.Error("the second client is served with the first one still there")
	case <-time.After(20 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-clients; err != nil {
		t.Errorf("the first client ended with %v", err)
	}
	second := <-waiting
	if second == nil {
		t.FailNow()
	}
	defer second.Close()
	wantErrno(t, "the second client", second.Reset(), 0)

	cancel()
	if err := <-clients; !errors.Is(err, context.Canceled) {
		t.Errorf("the second client ended with %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve ended with %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if got, want := dev.called(), "Attach Reset Detach Attach Reset Reset Detach"; got != want {
		t.Errorf("calls: %s, want %s", got, want)
	}
}

// TestListenClose: Close ends a Serve that waits for a client.
func TestListenClose(t *testing.T) {
	noNewFDs(t)
	l := listen(t, filepath.Join(t.TempDir(), "nic"))
	s, err := vfiouser.NewServer(newDevice())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(t.Context(), s, nil) }()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve ended with %v, want net.ErrClosed", err)
	}
}

// TestListenStale: the socket of a process that was killed is replaced; one that
// is in use and a file are not.
func TestListenStale(t *testing.T) {
	noNewFDs(t)
	path := filepath.Join(t.TempDir(), "nic")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if _, err := vfiouser.Listen(path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a socket that is in use: %v, want EADDRINUSE", err)
	}
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	if err := listen(t, path).Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vfiouser.Listen(path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a file: %v, want EADDRINUSE", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "text" {
		t.Errorf("the file: %q, %v", b, err)
	}
	if _, err := vfiouser.Listen(filepath.Join(path, "nic")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a path that can't be: %v", err)
	}
}
