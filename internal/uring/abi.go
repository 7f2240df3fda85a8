//go:build linux

package uring

import "time"

// The structures of linux/io_uring.h that io_uring_setup and io_uring_enter take. Their sizes and offsets are checked
// against the C header by TestAgainstKernelHeader.

// sqOffsets is struct io_sqring_offsets: where in the ring mapping the words of the submission queue lie.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, resv1 uint32
	userAddr                                                        uint64
}

// cqOffsets is struct io_cqring_offsets: the same for the completion queue.
type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, resv1 uint32
	userAddr                                                        uint64
}

// setupParams is struct io_uring_params. The kernel writes back everything but what it was asked for.
type setupParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sqOff                                                                  sqOffsets
	cqOff                                                                  cqOffsets
}

// Offsets that select a part of the ring in mmap(2) on its descriptor.
const (
	mmapRings    = 0          // IORING_OFF_SQ_RING: with FeatSingleMmap both queues
	mmapSQEs     = 0x10000000 // IORING_OFF_SQES
	mmapPbufRing = 0x80000000 // IORING_OFF_PBUF_RING, with the group id above mmapPbufShift
)

const mmapPbufShift = 16 // IORING_OFF_PBUF_SHIFT

// Bits of the submission queue's flag word, written by the kernel.
const (
	sqCQOverflow = 1 << 1 // IORING_SQ_CQ_OVERFLOW: completions wait outside the full completion queue
	sqTaskrun    = 1 << 2 // IORING_SQ_TASKRUN: task work waits to be run (SetupTaskrunFlag only)
)

// Flags of io_uring_enter(2).
const (
	enterGetEvents      = 1 << 0 // IORING_ENTER_GETEVENTS
	enterExtArg         = 1 << 3 // IORING_ENTER_EXT_ARG
	enterRegisteredRing = 1 << 4 // IORING_ENTER_REGISTERED_RING
)

// timespec is struct __kernel_timespec: 64-bit on every architecture.
type timespec struct {
	sec, nsec int64
}

// toTimespec converts a duration that is not negative.
func toTimespec(d time.Duration) timespec {
	return timespec{sec: int64(d / time.Second), nsec: int64(d % time.Second)}
}

// getEventsArg is struct io_uring_getevents_arg, the extended argument of io_uring_enter.
type getEventsArg struct {
	sigmask     uint64
	sigmaskSize uint32
	minWaitUsec uint32
	ts          uint64 // address of a timespec
}
