//go:build linux

package tun

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/mono"
)

// Wait blocks in ppoll(2) until there is a packet to read and buffers for the
// largest one, there is room for a frame that Send did not take, Wake was
// called, or until has come (0: no limit). While buffers lack it relies on the
// owner of the pool having told it to call Wake (buf.Pool.OnReturn). That the
// interface was deleted is an error.
func (d *Driver) Wait(until mono.Time) error { return d.wait(until, true) }

// Linger is Wait that packets do not end: part of driver.Lingerer.
func (d *Driver) Linger(until mono.Time) error { return d.wait(until, false) }

func (d *Driver) wait(until mono.Time, packets bool) error {
	if err := d.usable(); err != nil {
		return err
	}
	d.waiting.Store(true)
	defer d.waiting.Store(false)
	// After the store: a Wake sees that we wait, or we see that it was called.
	if d.woken.Swap(false) {
		return nil
	}
	var events int16
	if packets && d.rx.mayRead() {
		events |= unix.POLLIN
	}
	if d.tx.short {
		events |= unix.POLLOUT
	}
	timeout := &d.timeout
	if until == 0 {
		timeout = nil
	} else {
		*timeout = unix.NsecToTimespec(int64(max(until.Sub(mono.Now()), 0)))
	}
	d.stats.Waits++
	d.poll[0].Events = events
	n, err := unix.Ppoll(d.poll[:], timeout, nil)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tun: %s: ppoll: %w", d.name, err)
	}
	if n > 0 && d.poll[1].Revents != 0 {
		var count [8]byte
		// EAGAIN, which can't be, would mean the same: it is reset.
		_, _ = unix.Read(d.eventfd, count[:])
	}
	// A Wake from before here has done what it promises: this Wait returns.
	d.woken.Store(false)
	return d.attached(d.poll[0].Revents)
}

// ask is a ppoll for events of the interface that does not wait.
func (d *Driver) ask(events int16) (int16, error) {
	d.poll[0].Events = events
	d.timeout = unix.Timespec{}
	_, err := unix.Ppoll(d.poll[:1], &d.timeout, nil)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("tun: %s: ppoll: %w", d.name, err)
	}
	return d.poll[0].Revents, d.attached(d.poll[0].Revents)
}

// attached is the error that ppoll tells of: POLLERR is how a TUN device file
// says that it has no interface, and nothing else.
func (d *Driver) attached(revents int16) error {
	if revents&unix.POLLERR != 0 {
		return d.failed("ppoll", unix.EBADFD)
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
