//go:build linux

package kernel

import (
	"errors"
	"syscall"

	"github.com/zctap/zctap/internal/uring"
)

// event implements receiver: what the kernel tells of the queue, once until it
// is armed again.
func (z *zcrx) event(cqe *uring.CQE) {
	switch e := uring.ParseZCRXEvent(cqe); e {
	case uring.ZCRXAllocFailed:
		z.stats.allocFails.Add(1)
		z.dropping.came = true
		z.rearm |= e
		z.flush = true
		z.starved()
		z.drainPaused()
		if z.group != nil {
			z.group.tellDry(z)
		}
	case uring.ZCRXCopied:
		z.stats.copyEvents.Add(1)
		z.rearm |= e
	}
}

// rearmEvents has what was told be told again: an allocation failure when
// buffers have come back, copies when there was a round without.
func (z *zcrx) rearmEvents() error {
	if z.rearm == 0 {
		return nil
	}
	var now uring.ZCRXEvents
	if !z.hungry() {
		now |= z.rearm & uring.ZCRXAllocFailed
	}
	if z.batch.copied == 0 {
		now |= z.rearm & uring.ZCRXCopied
	}
	for _, e := range []uring.ZCRXEvents{uring.ZCRXAllocFailed, uring.ZCRXCopied} {
		if now&e == 0 {
			continue
		}
		z.rearm &^= e
		// EINVAL: it is armed.
		if err := z.ifq.ArmEvent(e); err != nil && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}
