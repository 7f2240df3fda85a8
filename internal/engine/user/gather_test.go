package user

import (
	"errors"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack"
)

// TestGathering: what comes fast, and is nothing but datagrams, may gather, and once for
// each batch that shows it.
func TestGathering(t *testing.T) {
	const us = time.Microsecond
	type batch struct {
		after                   time.Duration
		frames, datagrams, sent uint64
		dense                   bool
	}
	for name, batches := range map[string][]batch{
		"at once":           {{0, 64, 64, 0, true}, {10 * us, 64, 64, 0, true}},
		"one by one, fast":  {{0, 1, 1, 0, false}, {25 * us, 1, 1, 0, false}, {25 * us, 2, 2, 0, false}, {100 * us, 4, 4, 0, true}, {250 * us, 8, 8, 0, true}},
		"too slow":          {{0, 4, 4, 0, false}, {201 * us, 4, 4, 0, false}, {201 * us, 7, 7, 0, false}},
		"slower in the end": {{0, 8, 8, 0, true}, {250 * us, 7, 7, 0, false}, {250 * us, 1, 1, 0, false}},
		"merged":            {{0, 8, 80, 0, true}},
		"TCP among them":    {{0, 64, 63, 0, false}, {10 * us, 64, 64, 0, true}},
		"answered":          {{0, 64, 64, 0, true}, {10 * us, 64, 64, 1, false}, {10 * us, 7, 7, 0, false}, {10 * us, 7, 7, 1, false}},
	} {
		g := gathering{wire: lingerer{}}
		now, total := mono.Time(1e9), stack.Traffic{}
		for i, b := range batches {
			now = now.Add(b.after)
			total.Frames += b.frames
			total.Datagrams += b.datagrams
			total.Sent += b.sent
			g.received(now, total)
			if got := g.take(); got != b.dense || g.take() {
				t.Errorf("%s: batch %d: dense %v, want %v, once", name, i, got, b.dense)
			}
		}
	}
	g := gathering{}
	g.received(1e9, stack.Traffic{Frames: 100, Datagrams: 100})
	if g.take() {
		t.Error("a driver that cannot is to let frames gather")
	}
}

// lingerer is a wire whose Linger is counted.
type lingerer struct {
	driver.Driver
	lingers *atomic.Int64
}

func (l lingerer) Linger(until mono.Time) error {
	l.lingers.Add(1)
	return l.Wait(until)
}

// TestGathers: an engine lets a stream of datagrams gather, and receives all of it.
func TestGathers(t *testing.T) {
	var lingers atomic.Int64
	us, them := newHosts(t, options{wrap: func(d driver.Driver, _ *buf.Pool) driver.Driver { return lingerer{d, &lingers} }})
	in, err := us.ListenPacket("udp4", netip.AddrPort{}, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := them.ListenPacket("udp4", netip.AddrPort{}, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	to := netip.AddrPortFrom(us.addr, in.LocalAddr().Port())
	iovs, msgs := make([]buf.Iov, 64), make([]sockq.Message, 64)
	for end := time.Now().Add(deadline); lingers.Load() == 0; {
		if time.Now().After(end) {
			t.Fatal("datagrams never gather")
		}
		for range 32 {
			if _, err := out.WriteTo([]byte("datagram"), to); err != nil {
				t.Fatal(err)
			}
		}
		for got := 0; got < 32; {
			in.Queue().SetDeadline(time.Now().Add(deadline))
			n, k, err := in.Queue().Recv(iovs, msgs)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%d of 32 datagrams", got)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := us.pool.Return(iovs[:k]); err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}
}
