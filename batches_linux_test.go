package zctap_test

import (
	"io"
	"net"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
	"github.com/zctap/zctap/internal/pattern"
)

// The engine works in batches, however the frames come: for one of them it makes at
// most one ACK, and asks the kernel to send at most once. And over a wire that can't
// wait it loses no frame as long as the application keeps up.
func TestNSXDPBatches(t *testing.T) {
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		t.Run(mode, func(t *testing.T) {
			ours, theirs := newVeth(t, 1500)
			q, peer := openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: mode})(t, zctap.Config{})
			defer closeWhole(t, q)
			wholeStream(t, q, peer, pattern.New(9), 32<<20)
			s := q.Stats()
			// Windows that open without a frame draw ACKs of their own, and each sleep
			// is a call.
			const few = 10
			updates := s.Events["window-updates"]
			// Segments out of order are acknowledged one by one, up to three a batch.
			acks := s.Batches + updates + s.Events["out-of-order"] + few
			if n := s.Events["pure-acks"]; n > acks {
				t.Errorf("%d ACKs for %d batches, %d window updates", n, s.Batches, updates)
			}
			if calls := s.Batches + updates + s.Wakes + few; s.Syscalls > calls {
				t.Errorf("%d system calls for %d batches, %d window updates and %d sleeps", s.Syscalls, s.Batches, updates, s.Wakes)
			}
			if n := s.Drops["driver-no-buffer"]; n != 0 {
				t.Errorf("%d frames lost for want of a buffer", n)
			}
			if t.Failed() {
				t.Logf("%+v", s)
			}
		})
	}
}

// wholeStream receives size bytes of pat that the peer sends in one connection, and
// compares them.
func wholeStream(t *testing.T, q *zctap.Queue, peer enginetest.Peer, pat *pattern.Pattern, size int64) {
	t.Helper()
	c, sent := sentBy(t, q, peer, pat, size)
	defer c.Close()
	off := recvPattern(t, q, c, pat)
	if err := <-sent; err != nil || off != size {
		t.Fatalf("%d of %d bytes, %v", off, size, err)
	}
}

// sentBy is a connection by which the peer sends size bytes of pat; sent says when it has,
// or why not.
func sentBy(t *testing.T, q *zctap.Queue, peer enginetest.Peer, pat *pattern.Pattern, size int64) (_ *zctap.Conn, sent <-chan error) {
	t.Helper()
	ln, err := q.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := peer.Dial("tcp", net.JoinHostPort(peer.Host(), port))
		if err == nil {
			_, err = io.Copy(c, pat.Reader(size))
			c.Close()
		}
		done <- err
	}()
	c, err := ln.AcceptZC()
	if err != nil {
		t.Fatal(err)
	}
	return c, done
}

// recvPattern receives c to its end, compares it with pat, gives everything back,
// and returns how many bytes came.
func recvPattern(t *testing.T, q *zctap.Queue, c *zctap.Conn, pat *pattern.Pattern) (got int64) {
	t.Helper()
	iovs := make([]zctap.Iov, 64)
	for {
		n, err := c.RecvZC(iovs)
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range iovs[:n] {
			b := iovs[i].Bytes()
			if bad := pat.Mismatches(b, got); bad != 0 {
				t.Fatalf("%d of %d bytes are wrong at %d", bad, len(b), got)
			}
			got += int64(len(b))
		}
		if _, err := q.Release(iovs[:n]); err != nil {
			t.Fatal(err)
		}
	}
}
