//go:build linux

package vfiouser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// deviceInfo is VFIO_USER_DEVICE_GET_INFO: argsz u32, flags u32, num_regions
// u32, num_irqs u32 (struct vfio_device_info).
func (s *session) deviceInfo(m *message) error {
	if err := m.needInfo(deviceInfoLen); err != nil {
		return err
	}
	b := s.startReply(deviceInfoLen)
	ne.PutUint32(b, deviceInfoLen)
	ne.PutUint32(b[4:], deviceReset|devicePCI)
	ne.PutUint32(b[8:], numRegions)
	ne.PutUint32(b[12:], numIRQs)
	return nil
}

// regionSize returns the size of a region in bytes, 0 for one that the device
// does not have.
func (s *session) regionSize(region uint32) uint64 {
	switch {
	case region < numBARs:
		return s.info.BARs[region]
	case region == regionConfig:
		return configLen
	}
	return 0
}

// regionInfo is VFIO_USER_DEVICE_GET_REGION_INFO: argsz u32, flags u32, index
// u32, cap_offset u32, size u64, offset u64 (struct vfio_region_info). No region
// can be mapped: every access is a message.
func (s *session) regionInfo(m *message) error {
	if err := m.needInfo(regionInfoLen); err != nil {
		return err
	}
	region := ne.Uint32(m.body[8:])
	if region >= numRegions {
		return fmt.Errorf("region %d: %w", region, unix.EINVAL)
	}
	b := s.startReply(regionInfoLen)
	ne.PutUint32(b, regionInfoLen)
	ne.PutUint32(b[8:], region)
	if size := s.regionSize(region); size > 0 {
		ne.PutUint32(b[4:], regionRead|regionWrite)
		ne.PutUint64(b[16:], size)
	}
	return nil
}

// regionIOFDs is VFIO_USER_DEVICE_GET_REGION_IO_FDS: argsz u32, flags u32, index
// u32, count u32. There are none.
func (s *session) regionIOFDs(m *message) error {
	if err := m.needInfo(ioFDsLen); err != nil {
		return err
	}
	flags, region := ne.Uint32(m.body[4:]), ne.Uint32(m.body[8:])
	if flags != 0 || region >= numRegions {
		return fmt.Errorf("GET_REGION_IO_FDS of region %d with flags %#x: %w", region, flags, unix.EINVAL)
	}
	b := s.startReply(ioFDsLen)
	ne.PutUint32(b, ioFDsLen)
	ne.PutUint32(b[8:], region)
	return nil
}

// irqInfo is VFIO_USER_DEVICE_GET_IRQ_INFO: argsz u32, flags u32, index u32,
// count u32 (struct vfio_irq_info). Types that the device lacks have count 0, but
// for ERR: only a PCI Express device knows of it, as vfio-pci has it, and QEMU
// warns of one that does and has none.
//
// VFIO_IRQ_INFO_NORESIZE is not among the flags: vectors can be set up one by
// one, while others are in use.
func (s *session) irqInfo(m *message) error {
	if err := m.needInfo(irqInfoLen); err != nil {
		return err
	}
	index := ne.Uint32(m.body[8:])
	if index >= numIRQs || index == irqERR {
		return fmt.Errorf("interrupt type %d: %w", index, unix.EINVAL)
	}
	b := s.startReply(irqInfoLen)
	ne.PutUint32(b, irqInfoLen)
	ne.PutUint32(b[8:], index)
	if n := s.irqCount(index); n > 0 {
		ne.PutUint32(b[4:], irqEventfd|irqMaskable)
		ne.PutUint32(b[12:], n)
	}
	return nil
}

// irqCount returns how many interrupts of a type the device has.
func (s *session) irqCount(index uint32) uint32 {
	if index == irqMSIX {
		return uint32(len(s.bus.irq))
	}
	return 0
}
