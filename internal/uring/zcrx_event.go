//go:build linux

package uring

import (
	"fmt"
	"strings"
)

// ZCRXEvents is a set of things that an interface queue tells by itself (enum zcrx_event_type, Linux 7.2).
type ZCRXEvents uint32

const (
	// ZCRXAllocFailed: the NIC wanted a buffer and none was free, so it drops frames of every flow of the queue. Never
	// without a device.
	ZCRXAllocFailed ZCRXEvents = 1 << 0
	// ZCRXCopied: the kernel had to copy payload that the NIC had not placed in the area. What it copies out of the linear
	// part of a packet, because headers were not split off, it does not tell.
	ZCRXCopied ZCRXEvents = 1 << 1

	knownZCRXEvents = ZCRXAllocFailed | ZCRXCopied
)

var zcrxEventNames = []string{"ALLOC_FAIL", "COPY"}

// String lists the events by their kernel names without the prefix ZCRX_EVENT_.
func (e ZCRXEvents) String() string {
	var names []string
	for i, name := range zcrxEventNames {
		if e&(1<<i) != 0 {
			names = append(names, name)
			e &^= 1 << i
		}
	}
	if e != 0 || names == nil {
		names = append(names, fmt.Sprintf("%#x", uint32(e)))
	}
	return strings.Join(names, "|")
}

// ParseZCRXEvent returns the event that a completion with ZCRXConfig.EventUserData tells, 0 if it is none that this package
// knows. The kernel tells each event once, and again only after IFQ.ArmEvent.
func ParseZCRXEvent(c *CQE) ZCRXEvents {
	if c.Res < 0 || int(c.Res) >= len(zcrxEventNames) {
		return 0
	}
	return 1 << uint(c.Res)
}

// number is the event's number in struct zcrx_ctrl_arm_event, for a set of one.
func (e ZCRXEvents) number() (uint32, bool) {
	for i := range zcrxEventNames {
		if e == 1<<i {
			return uint32(i), true
		}
	}
	return 0, false
}

// ZCRXStats counts what the kernel copied because the NIC had not placed it in the area, since the registration. Copies
// out of the linear part of a packet are not in it.
type ZCRXStats struct {
	Copies      uint64
	CopiedBytes uint64
}
