package zctap_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap"
)

// TestSetReadBuffer: of a burst that the engine may not take in, the kernel keeps as much as
// there is room for, and what is lost is counted.
func TestSetReadBuffer(t *testing.T) {
	const burst = 200
	kept := func(set int) (n int) {
		// One buffer at most is taken in before the application has released it.
		q, peer := openCopy(t, zctap.Config{Buffers: 64, MaxHeld: 1})
		defer q.Close()
		p, err := q.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetReadBuffer(set); err != nil {
			t.Fatal(err)
		}
		from, err := peer.ListenPacket("udp4")
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		for range burst {
			if _, err := from.WriteTo(make([]byte, 1200), p.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		iovs, dgrams := make([]zctap.Iov, 4), make([]zctap.Datagram, 1)
		for end := time.Now().Add(patience); ; {
			lost := int(q.Stats().Drops["datagram-no-room-in-kernel"])
			if n+lost == burst {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d of %d received, %d lost", n, burst, lost)
			}
			if err := p.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, err := p.RecvFromZC(iovs, dgrams)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
			if _, err := q.Release(iovs[:dgrams[0].Iovs]); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	little, more := kept(4<<10), kept(64<<10)
	if little > 20 || more < 2*little {
		t.Errorf("of %d datagrams %d came with a buffer of 4 KiB, %d with 64 KiB", burst, little, more)
	}
}

// TestSetReadBufferErrors: every engine takes it, and refuses what is none.
func TestSetReadBufferErrors(t *testing.T) {
	copies, _ := openCopy(t, zctap.Config{Buffers: 64})
	user, _ := openMem(pairA4, pairB4)(t, zctap.Config{Buffers: 64})
	for _, q := range []*zctap.Queue{copies, user} {
		p, err := q.ListenPacket("udp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetReadBuffer(1 << 20); err != nil {
			t.Errorf("%s: %v", q.Engine(), err)
		}
		for _, n := range []int{0, -1} {
			if err := p.SetReadBuffer(n); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s: %d bytes: %v", q.Engine(), n, err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := p.SetReadBuffer(1 << 20); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: after Close: %v", q.Engine(), err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}
