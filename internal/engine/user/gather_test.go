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

// TestGathering: only where nothing but datagrams comes, and nothing is sent, may they
// gather.
func TestGathering(t *testing.T) {
	type batch struct {
		frames, datagrams, sent uint64
		gather                  bool
	}
	for name, batches := range map[string][]batch{
		"datagrams":     {{4, 4, 0, false}, {4, 4, 0, true}, {8, 8, 0, true}, {1, 1, 0, false}},
		"merged":        {{1, 4, 0, false}, {1, 4, 0, true}},
		"TCP among":     {{64, 63, 0, false}, {4, 4, 0, false}, {4, 4, 0, true}},
		"answered":      {{64, 64, 0, false}, {64, 64, 1, false}, {7, 7, 0, false}, {7, 7, 1, false}},
		"sent, no more": {{4, 4, 1, false}, {4, 4, 0, false}, {4, 4, 0, true}},
	} {
		var g gathering
		g.init(lingerer{posted: 4 * 64})
		now, total := mono.Time(1e9), stack.Traffic{}
		for i, b := range batches {
			now = now.Add(100 * time.Microsecond)
			total.Frames += b.frames
			total.Datagrams += b.datagrams
			total.Sent += b.sent
			g.received(now, total)
			if got := g.Take(now) > 0; got != b.gather {
				t.Errorf("%s: batch %d: gather %v, want %v", name, i, got, b.gather)
			}
		}
	}
}

// TestGatherTarget: no more are to come than a quarter of what there is room for.
func TestGatherTarget(t *testing.T) {
	for _, c := range []struct {
		wire driver.Driver
		want int
	}{
		{lingerer{}, gatherTarget},
		{lingerer{posted: 4096}, gatherTarget},
		{lingerer{posted: 64}, 16},
		{struct{ driver.Driver }{}, 0}, // cannot
	} {
		var g gathering
		g.init(c.wire)
		if g.Target != c.want {
			t.Errorf("%+v: target %d, want %d", c.wire, g.Target, c.want)
		}
	}
}

// lingerer is a wire whose Linger is counted.
type lingerer struct {
	driver.Driver
	lingers *atomic.Int64
	posted  int // of a wire without a driver
}

func (l lingerer) Caps() driver.Caps {
	if l.Driver == nil {
		return driver.Caps{RxPosted: l.posted}
	}
	return l.Driver.Caps()
}

func (l lingerer) Linger(until mono.Time) error {
	l.lingers.Add(1)
	return l.Wait(until)
}

// TestGathers: an engine lets a stream of datagrams gather, and receives all of it.
func TestGathers(t *testing.T) {
	var lingers atomic.Int64
	us, them := newHosts(t, options{wrap: func(d driver.Driver, _ *buf.Pool) driver.Driver { return lingerer{Driver: d, lingers: &lingers} }})
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
