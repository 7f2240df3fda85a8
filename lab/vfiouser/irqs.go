//go:build linux

package vfiouser

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// setIRQs is VFIO_USER_DEVICE_SET_IRQS: argsz u32, flags u32, index u32, start
// u32, count u32 (struct vfio_irq_set), then for DATA_BOOL a byte for each.
// Nothing is changed if any of it is wrong.
func (s *session) setIRQs(m *message) error {
	if len(m.body) < irqSetLen {
		return fmt.Errorf("SET_IRQS with %d bytes, needs %d: %w", len(m.body), irqSetLen, unix.EINVAL)
	}
	argsz, flags, index := ne.Uint32(m.body), ne.Uint32(m.body[4:]), ne.Uint32(m.body[8:])
	start, count := ne.Uint32(m.body[12:]), ne.Uint32(m.body[16:])
	bools := m.body[irqSetLen:]
	data, action := flags&irqData, flags&irqAction
	invalid := func(what string) error {
		return fmt.Errorf("SET_IRQS: %s (flags %#x, type %d, start %d, count %d, %d descriptors): %w",
			what, flags, index, start, count, len(m.fds), unix.EINVAL)
	}
	switch {
	case argsz < irqSetLen:
		return invalid("argsz is too small")
	case flags&^(irqData|irqAction) != 0 || bits.OnesCount32(data) != 1 || bits.OnesCount32(action) != 1:
		return invalid("want one kind of data and one action")
	case index >= numIRQs:
		return invalid("no such type")
	case uint64(start)+uint64(count) > uint64(s.irqCount(index)):
		return invalid("out of range")
	case data == irqDataBool && uint64(len(bools)) != uint64(count), data != irqDataBool && len(bools) > 0:
		return invalid("data of another length")
	case data != irqDataEventfd && len(m.fds) > 0:
		return invalid("descriptors that no data tells of")
	}
	if count == 0 {
		// "A count (and start) of 0 with data flags of VFIO_IRQ_SET_DATA_NONE
		// disables all interrupts of the index": also where there are none.
		if start != 0 || data != irqDataNone || action != irqTrigger {
			return invalid("nothing to act on")
		}
		if index == irqMSIX {
			s.bus.irq.close()
		}
		s.startReply(0)
		return nil
	}
	if data == irqDataEventfd {
		return s.setEventfds(m, action, int(start), int(count))
	}
	for i := range int(count) {
		if data == irqDataBool && bools[i] == 0 {
			continue
		}
		switch v := int(start) + i; action {
		case irqMask:
			s.bus.irq.mask(v)
		case irqUnmask:
			s.bus.irq.unmask(v)
		case irqTrigger:
			s.bus.irq.signal(v)
		}
	}
	s.startReply(0)
	return nil
}

// setEventfds gives vectors the message's eventfds, one each, or, if it has
// none, takes those away that they have.
func (s *session) setEventfds(m *message, action uint32, start, count int) error {
	if action != irqTrigger {
		// They would be signalled when the device masks a vector, which it
		// never does by itself.
		return fmt.Errorf("SET_IRQS with eventfds for mask or unmask: %w", unix.ENOTSUP)
	}
	if len(m.fds) != 0 && len(m.fds) != count {
		return fmt.Errorf("SET_IRQS with %d eventfds for %d interrupts: %w", len(m.fds), count, unix.EINVAL)
	}
	for _, fd := range m.fds {
		if err := checkEventfd(fd); err != nil {
			return err
		}
	}
	for i := range count {
		fd := -1
		if len(m.fds) > 0 {
			fd = m.takeFD(i)
		}
		s.bus.irq.set(start+i, fd)
	}
	s.startReply(0)
	return nil
}
