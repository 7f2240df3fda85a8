package zctap_test

import (
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/enginetest"
)

// A handler's completions cost no allocation, whatever the engine.
func TestHandlerAllocatesNothing(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants remembers each view")
	}
	for name, open := range map[string]func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer){
		"copy": openCopy, "user": openMem(pairA4, pairB4),
	} {
		t.Run(name, func(t *testing.T) { handlerAllocations(t, open) })
	}
}

func handlerAllocations(t *testing.T, open func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer)) {
	const part, parts = 16 << 20, 5
	q, peer := open(t, zctap.Config{})
	defer closeWhole(t, q)
	ln, err := q.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	sent := make(chan error, 1)
	go func() {
		p, err := peer.Dial("tcp", net.JoinHostPort(peer.Host(), port))
		if err == nil {
			defer p.Close()
		}
		for b, left := make([]byte, 1<<16), part*parts; left > 0 && err == nil; left -= len(b) {
			_, err = p.Write(b)
		}
		sent <- err
	}()
	c, err := ln.AcceptZC()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// How many objects there are, when another part of the stream has come.
	mallocs := make(chan uint64, parts+1)
	var came, noted, calls int64
	err = q.Handle(func(cqes []zctap.Completion) {
		calls++
		for i := range cqes {
			came += int64(cqes[i].Res)
			if _, err := q.Release(cqes[i].Iovs); err != nil {
				t.Error(err)
			}
		}
		for ; noted < came/part; noted++ {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			mallocs <- m.Mallocs
		}
	})
	if err == nil {
		err = c.Arm(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	fewest, before := uint64(math.MaxUint64), uint64(0)
	for i := range parts {
		select {
		case n := <-mallocs:
			if i > 0 {
				fewest = min(fewest, n-before)
			}
			before = n
		case <-time.After(time.Minute):
			t.Fatalf("part %d of %d does not come", i, parts)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if err := q.Handle(nil); err != nil {
		t.Error(err)
	}
	// An allocation for each call would be hundreds; the sender, and the Go runtime, make some.
	if fewest > part>>20 || calls < 100 {
		t.Errorf("at least %d allocations for %d MiB, in %d calls", fewest, part>>20, calls)
	}
}
