//go:build linux

package tun

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// Config says which interface to open and what to receive into.
type Config struct {
	// Name is the interface's name, of up to 15 bytes. One that does not exist
	// is created, and lives until Close; one that does is attached to, and
	// stays. A number takes the place of "%d"; empty is "tun%d".
	Name string
	// Device is the path of the TUN device file. Empty: /dev/net/tun.
	Device string
	// Pool is what is received into. Its region must hold the largest frame,
	// 17 buffers of 4 KiB, which the driver holds all the time.
	Pool *buf.Pool
	// MTU, if not 0, is set as the MTU of the interface. Caps has the MTU that
	// the interface has after Open; a later change is not seen.
	MTU int
}

// maxFrame is the length in bytes of the longest packet: an IPv6 header and the
// payload that its length field can tell of.
const maxFrame = 40 + 65535

// maxGSO is the length in bytes of the longest super-segment sent: what IPv4's
// total length can tell of.
const maxGSO = 65535

// A Driver receives and sends IP packets on a TUN interface.
type Driver struct {
	name string
	mtu  int
	fd   int // of the device file
	rx   receiver
	tx   sender

	stats driver.Stats
	meter meter

	closed  bool
	waiting atomic.Bool // stored by our goroutine: a Wait is, or is about to be, blocked
	woken   atomic.Bool // set by Wake, taken back by Wait
	poll    [2]unix.PollFd
	timeout unix.Timespec

	mu      sync.Mutex // guards eventfd against a Wake during or after Close
	eventfd int        // -1 after Close
}

var _ driver.Driver = (*Driver)(nil)

// newDriver makes a driver of fd, an open file in non-blocking mode that reads
// and writes IP packets, each behind a virtio_net_hdr. It owns fd from here on,
// and closes it on failure too.
func newDriver(fd int, name string, mtu int, pool *buf.Pool) (*Driver, error) {
	rx, err := newReceiver(pool)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tun: eventfd: %w", err), unix.Close(fd))
	}
	d := &Driver{name: name, mtu: mtu, fd: fd, rx: rx, eventfd: efd}
	d.poll = [2]unix.PollFd{{Fd: int32(fd)}, {Fd: int32(efd), Events: unix.POLLIN}}
	return d, nil
}

// Name is the name of the interface.
func (d *Driver) Name() string { return d.name }

// Caps describes the interface. ZeroCopy is false: it is the CPU that copies a
// packet out of the kernel, in our read.
func (d *Driver) Caps() driver.Caps {
	return driver.Caps{Name: "tun", MTU: d.mtu, MaxGSO: maxGSO, TxChecksum: true}
}

// Stats adds the driver's counters to s.
func (d *Driver) Stats(s *driver.Stats) {
	s.RxFrames += d.stats.RxFrames
	s.RxBytes += d.stats.RxBytes
	s.TxFrames += d.stats.TxFrames
	s.TxBytes += d.stats.TxBytes
	s.RxCalls += d.stats.RxCalls
	s.TxCalls += d.stats.TxCalls
	s.Waits += d.stats.Waits
	s.RxStalls += d.stats.RxStalls
	s.RxMalformed += d.stats.RxMalformed
	s.TxDropped += d.stats.TxDropped
}

// Dropped is how many packets for us the kernel has dropped since Open, as it counts at the
// interface (tx_dropped): its queue was full, because they came faster than they were
// received. It is a system call or two, which wait for who changes interfaces, and not for
// the driver. 0 where the kernel does not tell. Any goroutine; after Close it is what it was
// last.
func (d *Driver) Dropped() uint64 { return d.meter.dropped() }

// Close detaches from the interface, which is deleted if Open created it, and
// puts the driver's buffers back. Idempotent.
func (d *Driver) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	d.rx.close()
	d.meter.close()
	err := unix.Close(d.fd)
	d.mu.Lock()
	defer d.mu.Unlock()
	err = errors.Join(err, unix.Close(d.eventfd))
	d.eventfd = -1
	if err != nil {
		return fmt.Errorf("tun: %s: close: %w", d.name, err)
	}
	return nil
}

// usable is the error of a call after Close.
func (d *Driver) usable() error {
	if d.closed {
		return fmt.Errorf("tun: %s: %w", d.name, net.ErrClosed)
	}
	return nil
}

// failed is the final error of a system call on the device file.
func (d *Driver) failed(call string, errno unix.Errno) error {
	if errno == unix.EBADFD {
		return fmt.Errorf("tun: %s: the interface was deleted: %w", d.name, errno)
	}
	return fmt.Errorf("tun: %s: %s: %w", d.name, call, errno)
}

// vnetLen is the length in bytes of the virtio_net_hdr in front of each packet.
const vnetLen = wire.VnetHdrLen
