package ifq

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// closing starts Close, inside a synctest bubble, and returns when it waits.
func closing(t *testing.T, q *Queue) <-chan error {
	t.Helper()
	c := make(chan error, 1)
	go func() { c <- q.Close() }()
	stillClosing(t, c)
	return c
}

func stillClosing(t *testing.T, c <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-c:
		t.Fatalf("Close returned: %v", err)
	default:
	}
}

// handOver makes an iov of the kernel reference to b.
func handOver(t *testing.T, p *buf.Pool, b uint16) []buf.Iov {
	t.Helper()
	iovs := make([]buf.Iov, 1)
	if err := p.HandOver(p.Frag(b, 0, 10), &iovs[0]); err != nil {
		t.Fatal(err)
	}
	return iovs
}

// giveUser makes an iov beside the kernel reference to b.
func giveUser(t *testing.T, p *buf.Pool, b uint16) []buf.Iov {
	t.Helper()
	iovs := make([]buf.Iov, 1)
	if err := p.GiveUser(p.Frag(b, 0, 10), &iovs[0]); err != nil {
		t.Fatal(err)
	}
	return iovs
}

func giveBack(t *testing.T, p *buf.Pool, iovs []buf.Iov) {
	t.Helper()
	if n, err := p.Return(iovs); n != len(iovs) || err != nil {
		t.Fatalf("Return: %d, %v", n, err)
	}
}

// TestInvariant16_WaitsForKernelReferences: each way in which the last one can
// go ends the wait, at that moment.
func TestInvariant16_WaitsForKernelReferences(t *testing.T) {
	for name, last := range map[string]func(t *testing.T, p *buf.Pool, b uint16) []buf.Iov{
		"put":         func(_ *testing.T, p *buf.Pool, b uint16) []buf.Iov { p.Put(b); return nil },
		"handed over": handOver,
		"put beside an iov": func(t *testing.T, p *buf.Pool, b uint16) []buf.Iov {
			iovs := giveUser(t, p, b)
			p.Put(b)
			return iovs
		},
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t)
			synctest.Test(t, func(t *testing.T) {
				live := buf.LiveRegions()
				dev := &card{name: "eth7"}
				q := register(t, dev, &Args{Region: heap})
				p := q.Pool()
				held := []uint16{alloc(t, p), alloc(t, p), alloc(t, p)}
				start := time.Now()
				c := closing(t, q)
				if dev.closes != 1 {
					t.Fatal("the device was not told first")
				}
				if p.Alloc(make([]uint16, 1)) != 0 {
					t.Fatal("a buffer was allocated while the queue closes")
				}
				p.Put(held[0])
				stillClosing(t, c)
				time.Sleep(9 * time.Second)
				p.Put(held[1])
				stillClosing(t, c)
				if _, err := Register(dev, &Args{Region: heap}); !errors.Is(err, syscall.EBUSY) {
					t.Fatalf("registered again while it closes: %v", err)
				}
				iovs := last(t, p, held[2])
				if err := <-c; err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d != 9*time.Second {
					t.Fatalf("Close took %v: it was not woken but timed out", d)
				}
				// The application's references are not waited for, and keep the
				// memory.
				if want := live + len(iovs); buf.LiveRegions() != want {
					t.Fatalf("%d regions live, want %d", buf.LiveRegions(), want)
				}
				closeQueue(t, register(t, dev, &Args{Region: heap}))
				giveBack(t, p, iovs)
				if buf.LiveRegions() != live {
					t.Fatal("the region is still there after the last return")
				}
			})
		})
	}
}

func TestInvariant16_DoesNotWaitForTheApplication(t *testing.T) {
	unchanged(t)
	q := register(t, &card{name: "eth7"}, &Args{Region: heap, RemoveTimeout: -1})
	iovs := handOver(t, q.Pool(), alloc(t, q.Pool()))
	copy(iovs[0].Bytes(), "still here")
	closeQueue(t, q)
	if string(iovs[0].Bytes()) != "still here" {
		t.Fatal("the view changed")
	}
	giveBack(t, q.Pool(), iovs)
}

// TestInvariant16_TimeOut: it reports and keeps the memory; the queue can be
// registered again, with other memory.
func TestInvariant16_TimeOut(t *testing.T) {
	for _, c := range []struct {
		arg, want time.Duration
		held      int // buffers still out at that time
	}{{0, DefaultRemoveTimeout, 1}, {time.Minute, time.Minute, 1}, {-1, 0, 2}} {
		unchanged(t)
		synctest.Test(t, func(t *testing.T) {
			live := buf.LiveRegions()
			dev := &card{name: "eth7"}
			q := register(t, dev, &Args{Queue: 2, Region: heap, RemoveTimeout: c.arg})
			p := q.Pool()
			b, back := alloc(t, p), alloc(t, p)
			copy(p.Region().Buffer(b), "driver's")
			iovs := handOver(t, p, alloc(t, p))
			start := time.Now()
			closed := make(chan error, 1)
			go func() { closed <- q.Close() }()
			if c.want > 0 {
				time.Sleep(c.want / 2)
				p.Put(back) // wakes the wait, which goes on
				stillClosing(t, closed)
			}
			err := <-closed
			if c.want <= 0 {
				p.Put(back)
			}
			var busy *buf.BusyError
			if !errors.As(err, &busy) || !errors.Is(err, syscall.EBUSY) || busy.Region != p.Region().ID() || !strings.HasPrefix(err.Error(), "ifq: eth7 queue 2: ") {
				t.Fatalf("Close: %v", err)
			}
			if busy.Held != c.held {
				t.Fatalf("%d buffers are reported, want %d", busy.Held, c.held)
			}
			if d := time.Since(start); d != c.want {
				t.Fatalf("Close took %v, want %v", d, c.want)
			}
			if again := q.Close(); !errors.Is(again, err) || dev.closes != 1 {
				t.Fatalf("second Close: %v; the device was closed %d times", again, dev.closes)
			}
			if string(p.Region().Buffer(b)[:8]) != "driver's" || buf.LiveRegions() != live+1 {
				t.Fatal("the memory is gone under a live reference")
			}
			closeQueue(t, register(t, dev, &Args{Queue: 2, Region: heap}))
			p.Put(b)
			giveBack(t, p, iovs)
			if buf.LiveRegions() != live {
				t.Fatal("the region is still there though everything came back")
			}
		})
	}
}

// TestInvariant16_DeviceErrorOnClose is reported, and changes nothing about the
// removal.
func TestInvariant16_DeviceErrorOnClose(t *testing.T) {
	unchanged(t)
	dev := &card{name: "eth7", close: fails(syscall.EIO)}
	q := register(t, dev, &Args{Region: heap})
	for range 2 {
		if err := q.Close(); !errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EBUSY) {
			t.Fatalf("Close: %v", err)
		}
	}
	closeQueue(t, register(t, &card{name: "eth7"}, &Args{Region: heap}))

	q = register(t, dev, &Args{Region: heap, RemoveTimeout: -1})
	b := alloc(t, q.Pool())
	if err := q.Close(); !errors.Is(err, syscall.EIO) || !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("Close: %v, want both errors", err)
	}
	q.Pool().Put(b)
}

// TestInvariant15_SetupKeepsBuffers: a device that fails and has not put back
// what it took is reported, and its memory kept.
func TestInvariant15_SetupKeepsBuffers(t *testing.T) {
	unchanged(t)
	synctest.Test(t, func(t *testing.T) {
		live := buf.LiveRegions()
		var p *buf.Pool
		var b uint16
		dev := &card{name: "eth7", setup: func(q *Queue) error {
			p, b = q.Pool(), alloc(t, q.Pool())
			return syscall.EIO
		}}
		_, err := Register(dev, &Args{Region: heap})
		if !errors.Is(err, syscall.EIO) || !errors.Is(err, syscall.EBUSY) || dev.closes != 0 {
			t.Fatalf("Register: %v", err)
		}
		if buf.LiveRegions() != live+1 {
			t.Fatal("the memory is gone under a live reference")
		}
		dev.setup = nil
		closeQueue(t, register(t, dev, &Args{Region: heap}))
		p.Put(b)
		if buf.LiveRegions() != live {
			t.Fatal("the region is still there")
		}
	})
}

// TestInvariant16_ConcurrentClose has several goroutines close a queue while
// others give back what they hold: all of them return the same, and nothing is
// left.
func TestInvariant16_ConcurrentClose(t *testing.T) {
	unchanged(t)
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for range rounds {
		dev := &card{name: "eth7"}
		q := register(t, dev, &Args{Region: heap, RemoveTimeout: time.Minute})
		p := q.Pool()
		ids := make([]uint16, 8)
		if p.Alloc(ids) != len(ids) {
			t.Fatal("no buffers")
		}
		var wg sync.WaitGroup
		for i, b := range ids {
			iov := giveUser(t, p, b)
			wg.Go(func() {
				if i%2 == 0 {
					p.Put(b)
				}
				if _, err := p.Return(iov); err != nil {
					t.Error(err)
				}
				if i%2 == 1 {
					p.Put(b)
				}
			})
		}
		for range 3 {
			wg.Go(func() {
				if err := q.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if dev.closes != 1 {
			t.Fatalf("the device was closed %d times", dev.closes)
		}
	}
}
