//go:build linux

package uring

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Some requests point to a small argument: a time, an address, a message header. The kernel copies it when it takes
// the request (FeatSubmitStable, which New insists on), so it has to stay in place exactly as long as its SQE is in the
// submission queue. Each slot of that queue therefore has an argument slot of its own, in memory that Go does not move.
const (
	argsHeader  = 64 // the enterArg at the start of Ring.args
	argSlotSize = 64 // enough for a sockaddr_in6 (28), a timespec (16) and a msghdr (56)
)

// pushWithArg pushes the request that prep makes of the address of an argument, which fill has written.
func (r *Ring) pushWithArg(fill func(arg []byte), prep func(addr uintptr) SQE) error {
	slot, err := r.nextSQE()
	if err != nil {
		return err
	}
	arg := r.args[argsHeader+int(slot)*argSlotSize:][:argSlotSize:argSlotSize]
	clear(arg)
	fill(arg)
	return r.Push(prep(AddrOf(arg)))
}

// Timeout completes with -ETIME when the struct __kernel_timespec at addr has passed, or with 0 when count other requests
// have completed before (count 0: time alone). Cancel ends it. The kernel copies the timespec when it takes the request.
// PushTimeout finds the memory for it.
func Timeout(addr uintptr, count uint32, userData uint64) SQE {
	return SQE{Opcode: OpTimeout, FD: -1, Addr: uint64(addr), Len: 1, Off: uint64(count), UserData: userData}
}

// PushTimeout pushes a Timeout after d.
func (r *Ring) PushTimeout(d time.Duration, count uint32, userData uint64) error {
	if d < 0 {
		return fmt.Errorf("uring: timeout of %v", d)
	}
	return r.pushWithArg(
		func(arg []byte) {
			ts := toTimespec(d)
			binary.NativeEndian.PutUint64(arg, uint64(ts.sec))
			binary.NativeEndian.PutUint64(arg[8:], uint64(ts.nsec))
		},
		func(addr uintptr) SQE { return Timeout(addr, count, userData) })
}

// PushConnect pushes a Connect of fd to the address to. An IPv6 zone must be numeric: the index of the interface.
func (r *Ring) PushConnect(fd int, to netip.AddrPort, userData uint64) error {
	var sa [unix.SizeofSockaddrInet6]byte
	n, err := putSockaddr(&sa, to)
	if err != nil {
		return err
	}
	return r.pushWithArg(
		func(arg []byte) { copy(arg, sa[:n]) },
		func(addr uintptr) SQE { return Connect(fd, addr, uint32(n), userData) })
}

// PushRecvMsgMultishot pushes a RecvMsgMultishot that keeps nameLen bytes of each sender's address and controlLen bytes of
// control data. Give the same lengths to ParseRecvMsg.
func (r *Ring) PushRecvMsgMultishot(fd int, group uint16, nameLen, controlLen int, msgFlags uint32, userData uint64) error {
	if nameLen < 0 || nameLen > unix.SizeofSockaddrAny || controlLen < 0 {
		return fmt.Errorf("uring: recvmsg with %d bytes of name and %d of control", nameLen, controlLen)
	}
	return r.pushWithArg(
		func(arg []byte) { putMsghdr(arg, nameLen, controlLen) },
		func(addr uintptr) SQE { return RecvMsgMultishot(fd, group, addr, msgFlags, userData) })
}

// putSockaddr writes to as a sockaddr_in or sockaddr_in6 and returns its size.
func putSockaddr(b *[unix.SizeofSockaddrInet6]byte, to netip.AddrPort) (int, error) {
	addr := to.Addr()
	switch {
	case addr.Is4():
		binary.NativeEndian.PutUint16(b[0:], unix.AF_INET)
		binary.BigEndian.PutUint16(b[2:], to.Port())
		a := addr.As4()
		copy(b[4:], a[:])
		return unix.SizeofSockaddrInet4, nil
	case addr.Is6():
		var scope uint64
		if zone := addr.Zone(); zone != "" {
			var err error
			if scope, err = strconv.ParseUint(zone, 10, 32); err != nil {
				return 0, fmt.Errorf("uring: connect to %v: the zone must be the number of an interface", to)
			}
		}
		binary.NativeEndian.PutUint16(b[0:], unix.AF_INET6)
		binary.BigEndian.PutUint16(b[2:], to.Port())
		a := addr.As16()
		copy(b[8:], a[:])
		binary.NativeEndian.PutUint32(b[24:], uint32(scope))
		return unix.SizeofSockaddrInet6, nil
	}
	return 0, fmt.Errorf("uring: connect to the invalid address %v", to)
}
