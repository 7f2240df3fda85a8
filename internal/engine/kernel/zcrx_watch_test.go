//go:build linux

package kernel

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/uring/uringtest"
)

// driverCounters plays a driver's.
type driverCounters struct {
	mu                sync.Mutex
	received, dropped uint64
	err               error
	asked             int
	each              func(c *driverCounters) // is called at each look
}

func (c *driverCounters) read() (received, dropped uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.each != nil {
		c.each(c)
	}
	return c.received, c.dropped, c.err
}

// A NIC that drops all that comes, as one does that splits no headers off: the
// connections that wait for payload end with an error that says so, and the event
// is counted. Those that come later are served as before.
func TestZCRXAllDropped(t *testing.T) {
	nic := &driverCounters{received: 1000}
	o := device
	o.Counters = nic.read
	often := func(t *tuning) { t.watchEvery = 10 * time.Millisecond }
	w := zcrxOn(t, options{tune: often}, o, uringtest.Options{Device: true})
	a, p := w.connect()
	b, _ := w.connect()
	w.ok(send(p, 1000))
	w.eventually("payload has come", func() bool { return a.Queue().Buffered() == 1000 })
	nic.mu.Lock()
	nic.each = func(c *driverCounters) {
		if w.event("all-dropped") == 0 {
			c.dropped += 3
		}
	}
	nic.mu.Unlock()
	for _, c := range []struct {
		got int64
		err func() (int64, error)
	}{{1000, func() (int64, error) { return w.receive(a, 0) }}, {0, func() (int64, error) { return w.receive(b, 0) }}} {
		got, err := c.err()
		if got != c.got || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "tcp-data-split on") {
			w.Errorf("received %d bytes, then %v", got, err)
		}
	}
	if n := w.event("all-dropped"); n != 1 {
		w.Errorf("%d events", n)
	}
	nic.mu.Lock()
	nic.each = nil
	nic.mu.Unlock()
	c, p := w.connect()
	wait := w.sender(p, 100_000)
	w.wantEOF(c, 100_000)
	wait()
}

// What is no sign of it: packets that the driver did receive, none dropped, a NIC
// without buffers, counters that can't be read. Nobody looks while payload comes.
func TestZCRXNotAllDropped(t *testing.T) {
	for name, tc := range map[string]struct {
		each func(c *driverCounters)
		came bool
		err  error
		asks int
	}{
		"packets come":  {each: func(c *driverCounters) { c.received++; c.dropped++ }, asks: 10},
		"none comes":    {each: func(*driverCounters) {}, asks: 10},
		"no buffers":    {each: func(c *driverCounters) { c.dropped++ }, came: true, asks: 10},
		"no counters":   {err: syscall.EOPNOTSUPP, asks: unsplitLooks},
		"dropped twice": {each: func(c *driverCounters) { c.dropped = min(c.dropped+1, 2) }, asks: 10},
	} {
		nic := &driverCounters{each: tc.each, err: tc.err}
		z := &zcrx{unit: 4096}
		z.o.Counters = nic.read
		z.l = &loop{tuning: tuning{watchEvery: watchEvery}}
		c := &conn{}
		c.l, c.ops, c.conn = z.l, reqRecv, c
		z.l.table.add(&c.socket)
		look := func() {
			z.dropping.looked = time.Time{}
			z.watch()
		}
		for range 10 {
			z.dropping.came = z.dropping.came || tc.came
			look()
		}
		if z.stats.unsplit.Load() != 0 || c.ending || nic.asked != tc.asks {
			t.Errorf("%s: %d ends after %d looks", name, z.stats.unsplit.Load(), nic.asked)
		}
		z.watch() // at once
		z.batch.frames = 1
		look()
		if nic.asked != tc.asks {
			t.Errorf("%s: looked %d times", name, nic.asked)
		}
	}
}

// Nobody is woken to look where there is nothing to see.
func TestZCRXWatchPatience(t *testing.T) {
	for _, tc := range []struct {
		counters bool
		sockets  int
		timeout  time.Duration
		want     time.Duration
	}{
		{true, 1, -1, watchEvery}, {true, 1, 0, 0}, {true, 1, retryAfter, retryAfter}, {true, 1, time.Hour, watchEvery},
		{true, 0, -1, -1}, {false, 1, -1, -1},
	} {
		z := &zcrx{}
		z.l = &loop{tuning: tuning{watchEvery: watchEvery}}
		if tc.counters {
			z.o.Counters = new(driverCounters).read
		}
		for range tc.sockets {
			z.l.table.add(&socket{})
		}
		if got := z.patience(tc.timeout); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
