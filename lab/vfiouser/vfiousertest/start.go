//go:build linux

package vfiousertest

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
)

// Start serves dev on one end of a pair of sockets, and returns the negotiated
// client at the other. At the test's end it disconnects and waits for the
// server, which must have ended without an error.
func Start(t testing.TB, dev vfiouser.Device) *Client {
	t.Helper()
	c, done := StartRaw(t, dev)
	if _, err := c.Negotiate(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing the client: %v", err)
		}
		if err := done(); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	return c
}

// StartRaw is Start without the negotiation and without an opinion on how it
// ends: done waits for the server and returns its error. It may be called many
// times; at the test's end the connection is closed and the server waited for.
func StartRaw(t testing.TB, dev vfiouser.Device) (c *Client, done func() error) {
	t.Helper()
	client, server := Pair(t)
	ctx, cancel := context.WithCancel(context.Background()) // t.Context ends before the cleanups
	ended := make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = vfiouser.Serve(ctx, server, dev)
	}()
	c = NewClient(client)
	done = func() error {
		t.Helper()
		select {
		case <-ended:
			return result
		case <-time.After(replyTimeout):
			t.Fatal("the server does not end")
			return nil
		}
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		_ = done() // who wants to know has asked
	})
	return c, done
}

// Pair makes a pair of connected stream sockets. The caller owns both.
func Pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "socketpair")
		defer f.Close() // FileConn has made a duplicate
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c.(*net.UnixConn)
	}
	return conn(fds[0]), conn(fds[1])
}
