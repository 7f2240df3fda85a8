package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

var to = netip.MustParseAddrPort("192.0.2.2:9")

// TestSendQueue carries datagrams of all lengths from several writers to one
// reader, which frees them late.
func TestSendQueue(t *testing.T) {
	q := newSendQueue()
	const writers, each = 4, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				p := bytes.Repeat([]byte{byte(w)}, 1+(i*7)%3000)
				if err := q.Write(p, netip.AddrPortFrom(to.Addr(), uint16(i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var next [writers]int
	for n := 0; n < writers*each; {
		p, from, _, ok := q.Next()
		if !ok {
			q.Free()
			time.Sleep(time.Microsecond)
			continue
		}
		n++
		w := int(p[0])
		i := next[w]
		next[w]++
		if int(from.Port()) != i || len(p) != 1+(i*7)%3000 || bytes.Count(p, p[:1]) != len(p) {
			t.Fatalf("writer %d: datagram %d of %d bytes, want %d", w, from.Port(), len(p), i)
		}
	}
	q.Free()
	wg.Wait()
	if !q.Empty() {
		t.Error("not empty at the end")
	}
	for i := range q.slots {
		if c := cap(q.slots[i].payload); c > keptCap {
			t.Errorf("slot %d keeps %d bytes", i, c)
		}
	}
}

// TestSendQueueFull: writers wait for Free, not for Next.
func TestSendQueueFull(t *testing.T) {
	q := newSendQueue()
	for range sendSlots {
		if err := q.Write([]byte("x"), to); err != nil {
			t.Fatal(err)
		}
	}
	q.SetDeadline(time.Now().Add(time.Millisecond))
	if err := q.Write([]byte("x"), to); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write to a full queue: %v", err)
	}
	q.SetDeadline(time.Time{})
	wrote := make(chan error)
	go func() { wrote <- q.Write([]byte("last"), to) }()
	for _, _, _, ok := q.Next(); ok; _, _, _, ok = q.Next() {
	}
	select {
	case err := <-wrote:
		t.Fatalf("Write did not wait for Free: %v", err)
	default:
	}
	q.Free()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if p, _, _, ok := q.Next(); !ok || string(p) != "last" {
		t.Errorf("%q, %v", p, ok)
	}
	q.Close()
	if err := q.Write(nil, to); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}
