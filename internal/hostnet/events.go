//go:build linux

package hostnet

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// groups are the notifications that a Host subscribes to.
var groups = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_NEXTHOP,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE,
}

const (
	// receiveBuffer is how many bytes of notifications the kernel may hold for
	// us; a notification takes about one KiB.
	receiveBuffer = 1 << 20
	// batch bounds the notifications that are taken in before anything else is
	// done.
	batch = 1024
)

// events is the socket that notifications arrive on. It waits in the
// runtime's poller, not in a thread.
type events struct {
	f   *os.File
	raw syscall.RawConn
	buf []byte
	// congested is set from the time that some notifications were lost until the
	// queue is empty: before, the kernel drops more without another error.
	congested bool
}

// subscribe opens the socket in the network namespace of the calling thread.
func subscribe(bufferBytes int) (*events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	// Beyond the limit for everybody (net.core.rmem_max) if we may.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferBytes) != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferBytes)
	}
	err = errors.Join(err, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for _, g := range groups {
		if e := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); e != nil {
			err = errors.Join(err, fmt.Errorf("joining group %d: %w", g, e))
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	e := &events{f: os.NewFile(uintptr(fd), "netlink"), buf: make([]byte, bufferSize)}
	if e.raw, err = e.f.SyscallConn(); err == nil {
		err = e.f.SetReadDeadline(time.Time{}) // fails if the runtime cannot poll it
	}
	if err != nil {
		e.close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return e, nil
}

// close makes receive return.
func (e *events) close() { e.f.Close() }

// receive waits for notifications until a time, for ever if it is zero, and
// calls each for those that are there, a batch at most. What each is given is
// valid until it returns. lost tells that some were lost, and that none will be
// from now on without being told again: what is dumped now is complete. The error
// is os.ErrDeadlineExceeded if none came, and another after close.
func (e *events) receive(until time.Time, each func(message)) (lost bool, err error) {
	if err := e.f.SetReadDeadline(until); err != nil {
		return false, err
	}
	var failure error
	err = e.raw.Read(func(fd uintptr) bool {
		var n int
		n, lost, failure = e.drain(int(fd), each)
		return n > 0 || lost || failure != nil
	})
	return lost, errors.Join(err, failure)
}

// poll is receive without the wait: none is no error.
func (e *events) poll(each func(message)) (lost bool, err error) {
	var failure error
	err = e.raw.Control(func(fd uintptr) { _, lost, failure = e.drain(int(fd), each) })
	return lost, errors.Join(err, failure)
}

// drain receives what is there, a batch at most, and returns how many datagrams
// and errors it was.
func (e *events) drain(fd int, each func(message)) (n int, lost bool, err error) {
	for n < batch {
		size, from, err := unix.Recvfrom(fd, e.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch {
		case err == unix.EAGAIN:
			lost, e.congested = e.congested, false
			return n, lost, nil
		case err == unix.EINTR:
			continue
		case err == unix.ENOBUFS:
			n++
			e.congested = true
			continue
		case err != nil:
			return n, false, fmt.Errorf("netlink receive: %w", err)
		}
		n++
		if !fromKernel(from) {
			continue
		}
		if size > len(e.buf) {
			e.congested = true
			continue
		}
		for b := e.buf[:size]; ; {
			m, rest, ok := nextMessage(b)
			if !ok {
				break
			}
			b = rest
			each(m)
		}
	}
	return n, false, nil
}
