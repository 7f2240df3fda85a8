package zctap_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/pattern"
)

// A window is a promise about buffers. With AF_XDP they have to be with the kernel
// when the data comes, and a long frame takes several. So an application that keeps
// all that it gets stalls the sender, and no frame of it is lost: neither for want
// of a posted buffer, nor refused by the stack.
func TestNSXDPKeepsItsPromises(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
			t.Run(fmt.Sprintf("%d/%s", mtu, mode), func(t *testing.T) { promises(t, mtu, mode) })
		}
	}
}

func promises(t *testing.T, mtu int, mode string) {
	const size = 2 << 20 // several times what can be promised
	ours, theirs := newVeth(t, mtu)
	q, peer := openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: mode})(t, zctap.Config{Buffers: 256, MaxHeld: 1 << 16})
	defer closeWhole(t, q)
	pat := pattern.New(7)
	c, sent := sentBy(t, q, peer, pat, size)
	defer c.Close()
	keepAndRelease(t, q, c, pat, size)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	s := q.Stats()
	for _, cause := range []string{"driver-no-buffer", "tcp-over-share", "tcp-beyond-window"} {
		if n := s.Drops[cause]; n != 0 {
			t.Errorf("%s: %d", cause, n)
		}
	}
	if t.Failed() {
		t.Logf("%+v", s)
	}
}

// keepAndRelease receives size bytes from c. It keeps what it gets until nothing
// comes any more, and then releases all of it.
func keepAndRelease(t *testing.T, q *zctap.Queue, c *zctap.Conn, pat *pattern.Pattern, size int64) {
	var off int64
	var kept []zctap.Iov
	iovs := make([]zctap.Iov, 64)
	end := time.Now().Add(time.Minute)
	for off < size {
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := c.RecvZC(iovs)
		for i := range iovs[:n] {
			v := iovs[i].Bytes()
			if m := pat.Mismatches(v, off); m != 0 {
				t.Fatalf("%d wrong bytes from %d on", m, off)
			}
			off += int64(len(v))
		}
		kept = append(kept, iovs[:n]...)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			t.Fatalf("at %d of %d: %v", off, size, err)
		}
		if _, err := q.Release(kept); err != nil {
			t.Fatal(err)
		}
		kept = kept[:0]
	}
	if _, err := q.Release(kept); err != nil {
		t.Fatal(err)
	}
}
