//go:build linux

package uring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ZCRXQuery is what the kernel says it can do with interface queues (struct io_uring_query_zcrx, Linux 6.19).
type ZCRXQuery struct {
	RegisterFlags uint64 // ZCRX_REG_* that it knows: 1 IMPORT, 2 NODEV
	AreaFlags     uint64 // IORING_ZCRX_AREA_*: 1 DMABUF
	ControlOps    int    // how many of FLUSH_RQ, EXPORT, ARM_EVENT, ADD_AREA it knows, in this order
	Features      uint32 // ZCRX_FEATURE_*: 1 RX_PAGE_SIZE, 2 EVENT
	RefillHeader  int    // size of the refill ring's words
	RefillAlign   int    // what the entries behind them are aligned to
}

// QueryZCRX asks the kernel what it can do with interface queues. It needs no ring and no privilege. Kernels that do not
// answer fail with ErrNotSupported, which does not mean that they have no interface queues: see Have(ZCRX).
func QueryZCRX() (ZCRXQuery, error) {
	var a queryZCRXArg
	if err := query(queryZCRX, &a); err != nil {
		return ZCRXQuery{}, fmt.Errorf("uring: query of zero-copy receive: %w", err)
	}
	return ZCRXQuery{
		RegisterFlags: a.registerFlags, AreaFlags: a.areaFlags,
		ControlOps: int(a.ctrlOps), Features: a.features,
		RefillHeader: int(a.rqHeader), RefillAlign: int(a.rqAlign),
	}, nil
}

// ZCRXEventQuery is what the kernel says of events and statistics (struct io_uring_query_zcrx_event, Linux 7.2).
type ZCRXEventQuery struct {
	Events     ZCRXEvents
	StatsSize  int
	StatsAlign int
}

// QueryZCRXEvents asks the kernel which events of interface queues it can tell.
func QueryZCRXEvents() (ZCRXEventQuery, error) {
	var a queryZCRXEventArg
	if err := query(queryZCRXEvent, &a); err != nil {
		return ZCRXEventQuery{}, fmt.Errorf("uring: query of zero-copy receive events: %w", err)
	}
	return ZCRXEventQuery{Events: ZCRXEvents(a.eventFlags), StatsSize: int(a.statsSize), StatsAlign: int(a.statsAlign)}, nil
}

// KernelQuery is what the kernel says of io_uring as a whole (struct io_uring_query_opcode, Linux 6.18).
type KernelQuery struct {
	RequestOps, RegisterOps, QueryOps int // how many it knows, counted from 0
	Setup                             SetupFlags
	Features                          Features
}

// QueryKernel asks the kernel which operations of io_uring it knows.
func QueryKernel() (KernelQuery, error) {
	var a queryOpcodesArg
	if err := query(queryOpcodes, &a); err != nil {
		return KernelQuery{}, fmt.Errorf("uring: query of the kernel: %w", err)
	}
	return KernelQuery{
		RequestOps: int(a.requestOps), RegisterOps: int(a.registerOps), QueryOps: int(a.queryOps),
		Setup: SetupFlags(a.setup), Features: Features(a.features),
	}, nil
}

// judgeQuery tells the outcomes of a query apart: the errno of the system call, and the result in the header.
func judgeQuery(errno unix.Errno, result int32) error {
	switch {
	case errno == unix.EINVAL || errno == unix.EBADF: // EBADF: kernels that look up descriptor -1 before the operation
		return fmt.Errorf("%w: the kernel answers no queries (Linux 6.18): %w", errno, ErrNotSupported)
	case errno == unix.ENOSYS || errno == unix.EPERM:
		return fmt.Errorf("%w: %s: %w", errno, explainForbidden(errno, readSwitches()), ErrNotSupported)
	case errno != 0:
		return errno
	case result == -int32(unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel does not know the question: %w", ErrNotSupported)
	case result < 0:
		return unix.Errno(-result)
	}
	return nil
}

// supported turns an answer into an outcome.
func supported(yes bool, err error) error {
	if err == nil && !yes {
		return ErrNotSupported
	}
	return err
}

var errNoAnswer = errors.New("uring: the kernel's answer is too short")
