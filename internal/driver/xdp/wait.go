//go:build linux

package xdp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/mono"
)

// How long Wait waits for a wire that did not take all: txRetry, and as long again as
// nothing has been sent already, up to maxTxRetry. So a wire that is full for a moment
// is found free soon, and one that is dead is looked at a hundred times a second until
// it is given up (stallTime). There is no event for either: POLLOUT says that the TX
// ring is not half full, which it also is when it is the device or the completions
// that lag.
const (
	txRetry    = 100 * time.Microsecond
	maxTxRetry = 10 * time.Millisecond
)

// What Wait polls.
const (
	wakeFD  = iota // the eventfd
	linkFD         // rtnetlink
	queueFD        // and on: the sockets
)

// pollFDs makes the list of what Wait polls.
func (d *Driver) pollFDs() {
	d.fds = append(d.fds[:0], unix.PollFd{Fd: int32(d.eventfd), Events: unix.POLLIN}, unix.PollFd{Fd: -1, Events: unix.POLLIN})
	if d.watch != nil {
		d.fds[linkFD].Fd = int32(d.watch.fd)
	}
	for _, q := range d.queues {
		d.fds = append(d.fds, unix.PollFd{Fd: int32(q.fd), Events: unix.POLLIN})
	}
}

// Wait blocks in ppoll(2) until a frame is there, a Send that took fewer than all
// may take more, Wake was called, or until has come (0: no limit). It also
// returns when the interface changes, and fails when that is gone. While the
// kernel lacks buffers to receive into it relies on the owner of the pool having
// told it to call Wake (buf.Pool.OnReturn).
func (d *Driver) Wait(until mono.Time) error { return d.wait(until, true) }

// Linger is Wait that frames do not end: part of driver.Lingerer.
func (d *Driver) Linger(until mono.Time) error { return d.wait(until, false) }

func (d *Driver) wait(until mono.Time, frames bool) error {
	if err := d.usable(); err != nil {
		return err
	}
	d.waiting.Store(true)
	defer d.waiting.Store(false)
	// After the store: a Wake sees that we wait, or we see that it was called.
	if d.woken.Swap(false) || d.mayRefill() {
		return nil
	}
	if len(d.fds) == 0 {
		d.pollFDs()
	}
	fds := d.fds
	if !frames {
		fds = fds[:queueFD]
	}
	d.stats.Waits++
	_, err := unix.Ppoll(fds, d.limit(until), nil)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("xdp: %s: ppoll: %w", d.name, err)
	}
	if d.fds[wakeFD].Revents != 0 {
		var count [8]byte
		// EAGAIN, which can't be, would mean the same: it is reset.
		_, _ = unix.Read(d.eventfd, count[:])
	}
	// A Wake from before here has done what it promises: this Wait returns.
	d.woken.Store(false)
	if d.fds[linkFD].Revents != 0 {
		return d.follow()
	}
	return nil
}

// limit is how long Wait may block; nil: for ever.
func (d *Driver) limit(until mono.Time) *unix.Timespec {
	const ever = time.Duration(math.MaxInt64)
	left := ever
	if until != 0 {
		left = max(until.Sub(mono.Now()), 0)
	}
	if d.link.up && (d.tx.short || d.tx.pending) {
		pause := txRetry
		if d.tx.stuck != 0 {
			pause = min(max(mono.Now().Sub(d.tx.stuck), txRetry), maxTxRetry)
		}
		left = min(left, pause)
	}
	if len(d.tx.unresolved) > 0 {
		left = min(left, resolvePause)
	}
	if left == ever {
		return nil
	}
	d.timeout = unix.NsecToTimespec(int64(left))
	return &d.timeout
}

// mayRefill reports whether a queue that is short of buffers would get some. If
// not, the pool's owner is told when one comes back. A queue that still has a
// quarter of its buffers is refilled when it has received something.
func (d *Driver) mayRefill() bool {
	for _, q := range d.queues {
		if q.starved && q.posted < max(d.target/4, 1) {
			d.pool.WantReturn() // before the last look
			return d.pool.Free() > 0
		}
	}
	return false
}

// follow takes in what rtnetlink has to tell.
func (d *Driver) follow() error {
	if err := d.watch.read(); err != nil {
		return fmt.Errorf("xdp: %s: %w", d.name, err)
	}
	d.link = d.watch.link
	if d.link.gone {
		return d.gone()
	}
	return nil
}

// Wake makes a Wait that is under way, or the next one, return. Any goroutine.
// It costs a system call only if a Wait is under way and nobody woke it yet.
func (d *Driver) Wake() {
	if d.woken.Swap(true) || !d.waiting.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// Errors: EBADF after Close, when eventfd is -1 and not a number that may be
	// another file's by now; EAGAIN, if nobody ever waits and the counter is full.
	_, _ = unix.Write(d.eventfd, one[:])
}
