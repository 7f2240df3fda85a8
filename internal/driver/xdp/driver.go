//go:build linux

package xdp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// A Driver receives and sends Ethernet frames on queues of one interface.
type Driver struct {
	name     string
	mtu      int
	mode     Mode
	fallback error

	pool   *buf.Pool
	region *buf.Region
	ledger ledger
	queues []*queue
	room   int  // bytes of a frame that a buffer takes
	target int  // buffers to have posted on each queue
	turn   int  // the queue that the next Poll begins with
	busy   bool // Poll runs the interface's receive work
	// partial: frames can come whose checksum nobody has finished.
	partial bool
	tx      sender

	watch   *linkWatch    // nil in tests without an interface
	release *releaseWatch // nil in tests without an interface
	link    link          // what watch has seen last; index and mac in tests
	failed  error         // final: the interface is gone

	registered []int // queues
	unregister func(queue int)

	sleep        func(time.Duration) // time.Sleep, but in tests
	closeTimeout time.Duration

	stats     driver.Stats
	malformed uint64
	final     []QueueStats // taken by Close
	closed    bool

	waiter
}

var _ driver.Driver = (*Driver)(nil)

// A waiter is what Wait blocks on and Wake wakes.
type waiter struct {
	waiting atomic.Bool // stored by our goroutine: a Wait is, or is about to be, blocked
	woken   atomic.Bool // set by Wake, taken back by Wait
	fds     []unix.PollFd
	timeout unix.Timespec

	mu      sync.Mutex // guards eventfd against a Wake during or after Close
	eventfd int        // -1 after Close
}

// newDriver makes a driver of bound queues, the first of which sends. They are
// the driver's from here on. It has no buffers before start.
func newDriver(c *Config, queues []*queue, l link) *Driver {
	d := &Driver{
		name: l.name, mtu: l.mtu, link: l,
		pool: c.Pool, region: c.Pool.Region(), ledger: newLedger(c.Pool.Region()),
		queues: queues, room: (&umem{c.Pool.Region(), c.Headroom}).room(), target: c.Rings.Fill, busy: c.BusyPoll > 0,
		sleep: time.Sleep, closeTimeout: c.CloseTimeout,
	}
	d.eventfd = -1
	return d
}

// start gives the driver and the kernel their buffers. If it fails, Close puts
// back what there is.
func (d *Driver) start(c *Config) error {
	if err := d.openTX(c); err != nil {
		return err
	}
	for _, q := range d.queues {
		if d.refill(q); q.posted < d.target {
			return fmt.Errorf("queue %d: %d buffers are free for its fill ring of %d: %w", q.id, q.posted, d.target, unix.ENOBUFS)
		}
	}
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	d.eventfd = efd
	return nil
}

// register hands the sockets to c's program.
func (d *Driver) register(c *Config) error {
	d.unregister = c.Unregister
	if c.Register == nil {
		return nil
	}
	for _, q := range d.queues {
		if err := c.Register(q.id, q.fd); err != nil {
			return fmt.Errorf("queue %d: register the socket with the XDP program: %w", q.id, err)
		}
		d.registered = append(d.registered, q.id)
	}
	return nil
}

// Name is the name that the interface had at Open.
func (d *Driver) Name() string { return d.name }

// Mode is how frames get into the region, as the kernel says: ZeroCopy or Copy.
func (d *Driver) Mode() Mode { return d.mode }

// Fallback is why the mode is not ZeroCopy though Auto was asked for, or nil.
func (d *Driver) Fallback() error { return d.fallback }

// Queues are the queues that the driver is bound to; the first one sends.
func (d *Driver) Queues() []int {
	ids := make([]int, len(d.queues))
	for i, q := range d.queues {
		ids[i] = q.id
	}
	return ids
}

// Caps describes the interface, with the MTU that it had at Open. Checksums are
// completed in software, while the frame is copied to where it is sent from.
func (d *Driver) Caps() driver.Caps {
	return driver.Caps{
		Name: "xdp", LinkHeader: linkHeader, MTU: d.mtu, TxChecksum: true,
		ZeroCopy: d.mode == ZeroCopy,
		RxRoom:   d.room, RxPosted: d.target * len(d.queues),
	}
}

// Close waits for what was sent to leave in so many pauses at most: 20 ms, and what
// the system adds to a sleep.
const (
	drainPause  = 100 * time.Microsecond
	drainPauses = 200
)

// Close unbinds from the queues and puts the driver's buffers back, frames that
// were not received among them. It waits for what was sent before, for some 20 ms,
// and for the kernel to let go of the buffers (Config.CloseTimeout): if that fails in
// zero-copy mode, where the NIC may still write to them, they are not put back.
// Idempotent.
func (d *Driver) Close() error {
	if d.closed {
		return nil
	}
	d.drain()
	d.final = d.queueStats()
	d.closed = true
	if d.unregister != nil {
		for _, id := range d.registered {
			d.unregister(id)
		}
	}
	err := closeQueues(d.queues)
	held := false
	if d.release != nil {
		late := d.release.await(d.link.index, d.queues, d.closeTimeout)
		held = late != nil && d.mode == ZeroCopy
		err = errors.Join(err, late, d.release.close())
	}
	if d.watch != nil {
		err = errors.Join(err, d.watch.close())
	}
	if !held {
		d.ledger.clear(d.pool)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.eventfd >= 0 { // not if start failed
		err = errors.Join(err, unix.Close(d.eventfd))
		d.eventfd = -1
	}
	if err != nil {
		return fmt.Errorf("xdp: %s: close: %w", d.name, err)
	}
	return nil
}

// usable is the error of a call after Close, or after the interface has gone.
func (d *Driver) usable() error {
	if d.closed {
		return fmt.Errorf("xdp: %s: %w", d.name, net.ErrClosed)
	}
	return d.failed
}

// gone makes the driver fail for good.
func (d *Driver) gone() error {
	d.failed = fmt.Errorf("xdp: %s: the interface was deleted, or moved to another namespace: %w", d.name, unix.ENODEV)
	return d.failed
}
