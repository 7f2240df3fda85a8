package ifq

import (
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// TestInvariant15_EachErrorRollsBack makes each step of Register fail, looks
// that nothing is left, and that the same call succeeds once the cause is gone.
func TestInvariant15_EachErrorRollsBack(t *testing.T) {
	page := os.Getpagesize()
	unaligned := make([]byte, 3*page+1)
	broken := errors.New("the card is on fire")
	for _, c := range []struct {
		name string
		card card
		args Args
		want error
		says string // part of the message
		cure func(c *card, a *Args)
	}{
		{"queue id under 0", card{}, Args{Queue: -2, Region: heap}, syscall.EINVAL, "queue ids are from 0 to 65535",
			func(_ *card, a *Args) { a.Queue = 0 }},
		{"queue id over 16 bits", card{}, Args{Queue: MaxQueue + 1, Region: heap}, syscall.EINVAL, "queue ids are from 0 to 65535",
			func(_ *card, a *Args) { a.Queue = MaxQueue }},
		{"no buffers", card{}, Args{Region: buf.RegionConfig{Heap: true}}, syscall.EINVAL, "0 buffers",
			func(_ *card, a *Args) { a.Region.Buffers = 1 }},
		{"page ids over 16 bits", card{}, Args{Region: buf.RegionConfig{Buffers: buf.MaxBuffers + 1, Heap: true}}, syscall.EINVAL, "65537 buffers",
			func(_ *card, a *Args) { a.Region.Buffers = 8 }},
		{"buffer size", card{}, Args{Region: buf.RegionConfig{Buffers: 1, BufferSize: page + 1, Heap: true}}, syscall.EINVAL, "power of two",
			func(_ *card, a *Args) { a.Region.BufferSize = 2 * page }},
		{"part of a buffer", card{}, Args{Region: buf.RegionConfig{Memory: unaligned}}, syscall.EINVAL, "whole number",
			func(_ *card, a *Args) { a.Region = heap }},
		{"device without the hook", card{setup: fails(syscall.EOPNOTSUPP)}, Args{Region: heap}, syscall.EOPNOTSUPP, "not supported",
			func(c *card, _ *Args) { c.setup = nil }},
		{"device gone", card{setup: fails(syscall.ENODEV)}, Args{Region: heap}, syscall.ENODEV, "no such device",
			func(c *card, _ *Args) { c.setup = nil }},
		{"device has fewer queues", card{setup: fails(syscall.ERANGE)}, Args{Queue: 99, Region: heap}, syscall.ERANGE, "eth7 queue 99",
			func(c *card, _ *Args) { c.setup = nil }},
		{"device's own error", card{setup: fails(broken)}, Args{Region: heap}, broken, "on fire",
			func(c *card, _ *Args) { c.setup = nil }},
		{"device fails with buffers in its hands, and puts them back", card{setup: failsWithBuffers}, Args{Region: heap}, syscall.EIO, "input/output",
			func(c *card, _ *Args) { c.setup = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			c.card.name = "eth7"
			before := look()
			reached := 0 // times that SetupQueue was to be called
			for range 3 {
				q, err := Register(&c.card, &c.args)
				if q != nil || !errors.Is(err, c.want) {
					t.Fatalf("Register: %v, %v; want %v", q, err, c.want)
				}
				if !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "ifq: eth7 queue ") {
					t.Fatalf("the message does not name the cause: %v", err)
				}
				if now := look(); now != before {
					t.Fatalf("left behind: %+v, before %+v", now, before)
				}
				if c.card.setup != nil {
					reached++
				}
				if c.card.setups != reached {
					t.Fatalf("SetupQueue was called %d times, want %d", c.card.setups, reached)
				}
			}
			if c.card.closes != 0 {
				t.Fatal("a queue was closed that was never opened")
			}
			c.cure(&c.card, &c.args)
			q := register(t, &c.card, &c.args)
			if q.ID() != c.args.Queue || q.Pool().Region().Count() != c.args.Region.Buffers {
				t.Fatalf("queue %d with %d buffers", q.ID(), q.Pool().Region().Count())
			}
			closeQueue(t, q)
			if c.card.closes != 1 || len(c.card.open) != 0 {
				t.Fatalf("closed %d times", c.card.closes)
			}
		})
	}
}

func fails(err error) func(*Queue) error { return func(*Queue) error { return err } }

// failsWithBuffers is a driver that has filled its ring when it fails.
func failsWithBuffers(q *Queue) error {
	ids := make([]uint16, 5)
	for _, b := range ids[:q.Pool().Alloc(ids)] {
		q.Pool().Put(b)
	}
	return syscall.EIO
}

func TestInvariant15_NothingGiven(t *testing.T) {
	unchanged(t)
	if _, err := Register(&card{name: "eth7"}, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("no arguments: %v", err)
	}
	if _, err := Register(nil, &Args{Region: heap}); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("no device: %v", err)
	}
}

// TestInvariant15_SecondRegistration: a queue is registered once, by device and
// number; others are free, and it is again when it was closed.
func TestInvariant15_SecondRegistration(t *testing.T) {
	unchanged(t)
	a, again, b := &card{name: "eth7"}, &card{name: "eth7"}, &card{name: "eth8"}
	q := register(t, a, &Args{Queue: 3, Region: heap})
	before := look()
	for _, dev := range []*card{a, again} {
		_, err := Register(dev, &Args{Queue: 3, Region: heap})
		if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "eth7 queue 3") {
			t.Fatalf("second registration: %v", err)
		}
		if look() != before || again.setups != 0 || a.setups != 1 {
			t.Fatal("the second registration got somewhere")
		}
	}
	other := register(t, a, &Args{Queue: 4, Region: heap})
	same := register(t, b, &Args{Queue: 3, Region: heap})
	if q.Pool() == other.Pool() || q.Pool().Region().ID() == same.Pool().Region().ID() {
		t.Fatal("two queues share a pool or a region id")
	}
	closeQueue(t, q)
	q = register(t, again, &Args{Queue: 3, Region: heap})
	for _, q := range []*Queue{q, other, same} {
		closeQueue(t, q)
	}
}

// A device that chooses the queue itself: it is named when it is known, and is
// then one's own.
func TestAnyQueue(t *testing.T) {
	unchanged(t)
	pick := 5
	a := &card{name: "eth7", setup: func(q *Queue) error { return q.Choose(pick) }}
	fixed := &card{name: "eth7"}
	q := register(t, a, &Args{Queue: AnyQueue, Region: heap})
	if q.ID() != 5 {
		t.Errorf("it has queue %d", q.ID())
	}
	for _, dev := range []*card{a, fixed} {
		queue := AnyQueue
		if dev == fixed {
			queue = 5
		}
		if _, err := Register(dev, &Args{Queue: queue, Region: heap}); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "eth7 queue 5") {
			t.Errorf("second registration of queue %d: %v", queue, err)
		}
	}
	pick = 6
	other := register(t, a, &Args{Queue: AnyQueue, Region: heap})
	none := &card{name: "eth7", setup: func(*Queue) error { return syscall.ENODEV }}
	if _, err := Register(none, &Args{Queue: AnyQueue, Region: heap}); !errors.Is(err, syscall.ENODEV) || strings.Contains(err.Error(), "queue") {
		t.Errorf("a device without queues: %v", err)
	}
	closeQueue(t, q)
	closeQueue(t, other)
	closeQueue(t, register(t, fixed, &Args{Queue: 5, Region: heap}))
}

// TestInvariant15_ConcurrentRegistration: of many at once exactly one gets the
// queue.
func TestInvariant15_ConcurrentRegistration(t *testing.T) {
	unchanged(t)
	for range 50 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var got []*Queue
		for range 8 {
			wg.Go(func() {
				q, err := Register(&card{name: "eth7"}, &Args{Queue: 1, Region: heap})
				if err != nil && !errors.Is(err, syscall.EBUSY) {
					t.Error(err)
				}
				if q != nil {
					mu.Lock()
					got = append(got, q)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("%d registrations of one queue", len(got))
		}
		closeQueue(t, got[0])
	}
}

// TestSetupSeesTheQueue: the hook gets a queue that it can receive into.
func TestSetupSeesTheQueue(t *testing.T) {
	unchanged(t)
	var seen *Queue
	var held uint16
	dev := &card{name: "eth7", setup: func(q *Queue) error {
		seen, held = q, alloc(t, q.Pool())
		return nil
	}}
	dev.close = func(q *Queue) error {
		q.Pool().Put(held)
		return nil
	}
	q := register(t, dev, &Args{Queue: 5, Region: heap})
	if seen != q || q.ID() != 5 || q.Pool().Free() != 7 {
		t.Fatalf("queue %d, %d buffers free", q.ID(), q.Pool().Free())
	}
	closeQueue(t, q)
}
