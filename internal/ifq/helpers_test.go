package ifq

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// A card is a device whose queues do what a test tells them.
type card struct {
	name           string
	setup          func(q *Queue) error // nil: succeeds
	close          func(q *Queue) error // nil: succeeds
	setups, closes int
	open           map[int]bool
}

func (c *card) Name() string { return c.name }

func (c *card) SetupQueue(q *Queue) error {
	c.setups++
	if c.setup != nil {
		if err := c.setup(q); err != nil {
			return err
		}
	}
	if c.open == nil {
		c.open = map[int]bool{}
	}
	c.open[q.ID()] = true
	return nil
}

func (c *card) CloseQueue(q *Queue) error {
	c.closes++
	if !c.open[q.ID()] {
		panic("a queue that is not open was closed")
	}
	delete(c.open, q.ID())
	if c.close != nil {
		return c.close(q)
	}
	return nil
}

// heap is a small region of memory that the race detector sees.
var heap = buf.RegionConfig{Buffers: 8, Heap: true}

// A world is what must be as before when everything is undone.
type world struct{ regions, queues int }

func look() world {
	table.mu.Lock()
	defer table.mu.Unlock()
	return world{buf.LiveRegions(), len(table.used)}
}

// unchanged checks at the test's end that nothing is left.
func unchanged(t *testing.T) {
	before := look()
	t.Cleanup(func() {
		if now := look(); now != before && !t.Failed() {
			t.Errorf("left behind: %+v, before %+v", now, before)
		}
	})
}

func register(t *testing.T, dev Device, args *Args) *Queue {
	t.Helper()
	q, err := Register(dev, args)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func closeQueue(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// alloc takes one buffer as a driver would.
func alloc(t *testing.T, p *buf.Pool) uint16 {
	t.Helper()
	var id [1]uint16
	if p.Alloc(id[:]) != 1 {
		t.Fatal("no buffer free")
	}
	return id[0]
}
