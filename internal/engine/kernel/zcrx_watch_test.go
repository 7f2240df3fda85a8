//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
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

// The interface goes away, which the kernel does not tell the ring: with one and with
// several rings, everything that waits ends with an error that says so, and so does what
// comes later. A driver that counts nothing is asked nevertheless.
func TestZCRXInterfaceGone(t *testing.T) {
	for _, rings := range []int{1, 3} {
		for name, before := range map[string]error{"counters": nil, "no counters": syscall.EOPNOTSUPP} {
			t.Run(fmt.Sprint(name, ", rings ", rings), func(t *testing.T) { interfaceGone(t, rings, before) })
		}
	}
}

func interfaceGone(t *testing.T, rings int, before error) {
	nic := &driverCounters{received: 1000, err: before}
	o := device
	o.Rings, o.Counters = rings, nic.read
	o.Steer = func(netip.AddrPort) (undo func() error, err error) {
		nic.mu.Lock()
		defer nic.mu.Unlock()
		if errors.Is(nic.err, syscall.ENODEV) {
			return nil, nic.err
		}
		return func() error { return nil }, nil
	}
	often := func(t *tuning) { t.watchEvery = 10 * time.Millisecond }
	w := zcrxOn(t, options{tune: often}, o, uringtest.Options{Device: true})
	const says = "the interface was deleted, or moved to another network namespace"
	want := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ended := make(chan error, 2*rings+1)
	for range 2 * rings {
		c, p := w.connect()
		w.ok(send(p, 1000))
		w.eventually("payload has come", func() bool { return c.Queue().Buffered() == 1000 })
		idle, _ := w.connect()
		go func() { ended <- second(idle.Queue().Recv(make([]buf.Iov, 1), 1)) }()
	}
	ln := w.listen(0)
	go func() { ended <- second(ln.Backlog().Accept()) }()
	w.eventually("the counters were looked at some times", func() bool {
		nic.mu.Lock()
		defer nic.mu.Unlock()
		return nic.asked > 10
	})
	nic.mu.Lock()
	nic.err = fmt.Errorf("nic: eth7: %w", syscall.ENODEV)
	nic.mu.Unlock()
	for range cap(ended) {
		select {
		case err := <-ended:
			want("a call that was blocked", err)
		case <-time.After(patience):
			t.Fatal("a call is blocked still")
		}
	}
	want("Dial", second(w.Dial(t.Context(), "tcp", netip.AddrPort{}, ln.Addr())))
	want("Listen", second(w.Listen("tcp", netip.AddrPort{}, 0)))
	w.ok(w.Close()) // the failure was told
	w.census()
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
		"no counters":   {err: syscall.EOPNOTSUPP, asks: 10},
		"dropped twice": {each: func(c *driverCounters) { c.dropped = min(c.dropped+1, 2) }, asks: 10},
	} {
		nic := &driverCounters{each: tc.each, err: tc.err}
		z := &zcrx{unit: 4096}
		z.o.Counters = nic.read
		z.l = &loop{tuning: tuning{watchEvery: 24 * time.Hour}} // two looks are at once, however long that takes
		c := &conn{}
		c.l, c.ops, c.conn = z.l, reqRecv, c
		z.l.table.add(&c.socket)
		look := func() {
			z.dropping.looked = time.Time{}
			if err := z.watch(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for range 10 {
			z.dropping.came = z.dropping.came || tc.came
			look()
		}
		if z.stats.unsplit.Load() != 0 || c.ending || nic.asked != tc.asks {
			t.Errorf("%s: %d ends after %d looks", name, z.stats.unsplit.Load(), nic.asked)
		}
		if err := z.watch(); err != nil { // at once
			t.Errorf("%s: %v", name, err)
		}
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
