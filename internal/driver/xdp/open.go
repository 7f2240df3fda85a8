//go:build linux

package xdp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// maxLinkHeader is an Ethernet header with one VLAN tag, bytes: what an
// interface carries beyond its MTU.
const maxLinkHeader = 14 + 4

// busyPatience bounds how long a busy queue, or locked memory, is tried for: the
// kernel takes a socket that was closed, such as that of a process that was
// killed, off its queue some time later, and its UMEM off the user's account. A
// queue that no process is seen to have is tried for longer.
const (
	busyPatience  = 200 * time.Millisecond
	ghostPatience = 5 * time.Second
	busyPause     = 5 * time.Millisecond
)

// Open binds to queues of an interface of the calling thread's network
// namespace, where the driver stays whatever thread uses it. The XDP program
// that redirects frames to its sockets is the caller's business (Register), and
// so are addresses, routes and the state "up". It needs CAP_NET_RAW, and
// CAP_IPC_LOCK or an RLIMIT_MEMLOCK of the size of the region.
//
// Errors name the cause and what to do about it, and leave nothing behind:
// EINVAL for what c asks, ENODEV, EPERM, EAFNOSUPPORT, ENOBUFS (RLIMIT_MEMLOCK),
// EBUSY for a queue that has a socket, EOPNOTSUPP for a mode that the interface
// can't do.
func Open(c Config) (*Driver, error) {
	d, err := open(c)
	if err != nil {
		name := c.Interface
		if name == "" {
			name = fmt.Sprintf("interface %d", c.Index)
			if i, err := net.InterfaceByIndex(c.Index); err == nil {
				name = i.Name
			}
		}
		return nil, fmt.Errorf("xdp: %s: %w", name, err)
	}
	return d, nil
}

func open(c Config) (_ *Driver, err error) {
	watch, err := watchLink(c.Interface, c.Index)
	if err != nil {
		return nil, err
	}
	defer closeUnless(&err, watch.nlSocket)
	if !watch.link.ethernet {
		return nil, fmt.Errorf("not an Ethernet interface, and AF_XDP needs one (a TUN interface has a driver of its own): %w", unix.EOPNOTSUPP)
	}
	dev, err := describe(&watch.link)
	if err != nil {
		return nil, err
	}
	if c, err = c.withDefaults(dev.queues); err != nil {
		return nil, err
	}
	release, err := openReleaseWatch()
	if err != nil {
		return nil, err
	}
	defer closeUnless(&err, release.nlSocket)

	u := umem{region: c.Pool.Region(), headroom: c.Headroom}
	queues, mode, fallback, err := bindInOrder(&c, &u, watch, release)
	if err != nil {
		return nil, err
	}
	d := newDriver(&c, queues, watch.link)
	d.mode, d.fallback = mode, fallback
	d.watch, d.release = watch, release
	d.partial = dev.virtual
	err = d.start(&c)
	if err == nil {
		err = d.register(&c)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func closeUnless(err *error, n *nlSocket) {
	if *err != nil {
		*err = errors.Join(*err, n.close())
	}
}

// bindInOrder binds to all queues in the mode that c asks for, or the best that
// there is; fallback is why that is not zero-copy, if it was tried.
func bindInOrder(c *Config, u *umem, w *linkWatch, r *releaseWatch) (queues []*queue, got Mode, fallback, err error) {
	b := binder{c: c, umem: u, link: &w.link, release: r}
	switch c.Mode {
	case ZeroCopy, Copy:
		got, err = b.bindAll(c.Mode)
	default:
		if got, err = b.bindAll(ZeroCopy, Copy); got == ZeroCopy && err != nil && otherMode(err) {
			// The first queue can, and another can't.
			b.fallback = err
			got, err = b.bindAll(Copy)
		}
	}
	return b.queues, got, b.fallback, err
}

// otherMode reports whether a bind that failed so may work in another mode.
func otherMode(err error) bool {
	for _, e := range []error{unix.EBUSY, unix.EPERM, unix.ENOBUFS, unix.EAFNOSUPPORT, unix.ENODEV} {
		if errors.Is(err, e) {
			return false
		}
	}
	return true
}

// A binder makes and binds the sockets of a driver.
type binder struct {
	c        *Config
	umem     *umem
	link     *link
	release  *releaseWatch
	queues   []*queue
	bound    int   // of queues, the first so many
	fallback error // why the first mode was given up
}

// bindAll binds to all queues, or to none, in the first of the modes that the
// first queue takes.
func (b *binder) bindAll(modes ...Mode) (m Mode, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeQueues(b.queues), b.release.await(b.link.index, b.queues[:b.bound], b.c.CloseTimeout))
			b.queues, b.bound = nil, 0
		}
	}()
	for i, id := range b.c.Queues {
		if err := b.open(id); err != nil {
			return m, fmt.Errorf("queue %d: %w", id, err)
		}
		q := b.queues[i]
		if i > 0 {
			err = b.bind(q, m)
		} else {
			// On the same socket: a second registration of the region while the first
			// is only about to be undone would count twice as locked memory.
			for i, mode := range modes {
				m = mode
				if err = b.bind(q, m); err == nil || !otherMode(err) {
					break
				}
				if i < len(modes)-1 {
					b.fallback = fmt.Errorf("queue %d: %w", id, err)
				}
			}
		}
		if err != nil {
			return m, fmt.Errorf("queue %d: %w", id, err)
		}
	}
	return m, nil
}

// open makes the socket of the next queue.
func (b *binder) open(id int) error {
	sizes := ringSizes{fill: ringFor(b.c.Rings.Fill), rx: uint32(b.c.Rings.RX), completion: minRing}
	registers := (*umem)(nil)
	if len(b.queues) == 0 {
		sizes.tx = ringFor(b.c.TxBuffers)
		sizes.completion = sizes.tx
		registers = b.umem
	}
	var q *queue
	err := patiently(unix.ENOBUFS, busyPatience, func() (err error) { q, err = openSocket(id, registers, sizes); return err })
	if err != nil {
		return err
	}
	b.queues = append(b.queues, q)
	if b.c.BusyPoll > 0 {
		return q.busyPoll(b.c.BusyPoll)
	}
	return nil
}

// bind binds the last socket to its queue.
func (b *binder) bind(q *queue, m Mode) error {
	flags := bindFlags(m, b.link, b.umem.room())
	shared := b.queues[0]
	if shared == q {
		shared = nil
	}
	try := func() error { return q.bind(b.link.index, flags, shared) }
	err := patiently(unix.EBUSY, busyPatience, try)
	if errors.Is(err, unix.EBUSY) && socketHolders(len(b.queues)) == "" {
		err = patiently(unix.EBUSY, ghostPatience, try)
	}
	if err != nil {
		return fmt.Errorf("bind in %s mode: %w%s", m, err, bindHint(err, m, b.link, b.release.support(b.link.index), b.umem.room(), len(b.queues)))
	}
	b.bound++
	zero, err := q.zeroCopy()
	if err == nil && zero != (m == ZeroCopy) {
		err = fmt.Errorf("bound in %s mode, but the kernel says otherwise: %w", m, unix.EOPNOTSUPP)
	}
	return err
}

// patiently calls f until it succeeds or fails with anything but busy, for as
// long as it may take the kernel to clean up after a socket that was closed.
func patiently(busy unix.Errno, patience time.Duration, f func() error) error {
	end := time.Now().Add(patience)
	for {
		err := f()
		if !errors.Is(err, busy) || time.Now().After(end) {
			return err
		}
		time.Sleep(busyPause)
	}
}

// bindFlags are what the first socket asks for; the others share it.
func bindFlags(m Mode, l *link, room int) uint16 {
	const flags = unix.XDP_USE_NEED_WAKEUP
	if m == Copy {
		// A frame in several buffers costs nothing when there is none.
		return flags | unix.XDP_COPY | unix.XDP_USE_SG
	}
	if needsSegments(l, room) {
		return flags | unix.XDP_ZEROCOPY | unix.XDP_USE_SG
	}
	// A driver that can't do several refuses the question.
	return flags | unix.XDP_ZEROCOPY
}

// needsSegments reports whether the interface's longest frames take more than
// the room in one buffer.
func needsSegments(l *link, room int) bool { return l.mtu+maxLinkHeader > room }

// closeQueues closes all sockets, the one with the UMEM last.
func closeQueues(queues []*queue) (err error) {
	for i := len(queues) - 1; i >= 0; i-- {
		err = errors.Join(err, queues[i].close())
	}
	return err
}
