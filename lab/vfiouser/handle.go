//go:build linux

package vfiouser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// handle does what a message asks for and prepares the reply (startReply). An
// error is the client's answer; one that wraps ErrProtocol ends the connection.
func (s *session) handle(m *message) error {
	if !s.negotiated && m.cmd != cmdVersion {
		return violation(unix.EINVAL, "command %d before VFIO_USER_VERSION", m.cmd)
	}
	if len(m.fds) > 0 && m.cmd != cmdDMAMap && m.cmd != cmdSetIRQs {
		return fmt.Errorf("%d descriptors with command %d: %w", len(m.fds), m.cmd, unix.EINVAL)
	}
	switch m.cmd {
	case cmdVersion:
		return s.version(m)
	case cmdDMAMap:
		return s.dmaMap(m)
	case cmdDMAUnmap:
		return s.dmaUnmap(m)
	case cmdGetInfo:
		return s.deviceInfo(m)
	case cmdGetRegionInfo:
		return s.regionInfo(m)
	case cmdGetRegionIOFDs:
		return s.regionIOFDs(m)
	case cmdGetIRQInfo:
		return s.irqInfo(m)
	case cmdSetIRQs:
		return s.setIRQs(m)
	case cmdRegionRead:
		return s.regionRead(m)
	case cmdRegionWrite:
		return s.regionWrite(m)
	case cmdRegionWriteMulti:
		return s.regionWriteMulti(m)
	case cmdReset:
		return s.reset(m)
	}
	// Migration, dirty pages, DMA by message (which only the server asks for).
	return fmt.Errorf("command %d: %w", m.cmd, unix.ENOTSUP)
}

// need checks that a body has exactly n bytes.
func (m *message) need(n int) error {
	if len(m.body) != n {
		return fmt.Errorf("command %d with %d bytes instead of %d: %w", m.cmd, len(m.body), n, unix.EINVAL)
	}
	return nil
}

// needInfo checks that a body has exactly n bytes, and that the client, which
// says so in the first field, argsz, has room for as many in the reply.
func (m *message) needInfo(n int) error {
	if err := m.need(n); err != nil {
		return err
	}
	if argsz := ne.Uint32(m.body); argsz < uint32(n) {
		return fmt.Errorf("command %d with argsz %d, needs %d: %w", m.cmd, argsz, n, unix.EINVAL)
	}
	return nil
}

// dmaMap is VFIO_USER_DMA_MAP: argsz u32, flags u32, offset u64, address u64,
// size u64, and a descriptor if the memory can be mapped.
func (s *session) dmaMap(m *message) error {
	if err := m.needInfo(dmaMapLen); err != nil {
		return err
	}
	flags := ne.Uint32(m.body[4:])
	offset, addr, size := ne.Uint64(m.body[8:]), ne.Uint64(m.body[16:]), ne.Uint64(m.body[24:])
	if flags == 0 || flags&^(dmaMapRead|dmaMapWrite) != 0 {
		return fmt.Errorf("DMA_MAP with flags %#x: %w", flags, unix.EINVAL)
	}
	fd := -1
	switch len(m.fds) {
	case 0:
	case 1:
		fd = m.fds[0] // stays the message's: a mapping outlives its descriptor
	default:
		return fmt.Errorf("DMA_MAP with %d descriptors: %w", len(m.fds), unix.EINVAL)
	}
	if err := s.bus.dma.add(addr, size, fd, offset, flags&dmaMapWrite != 0); err != nil {
		return err
	}
	s.startReply(0)
	return nil
}

// dmaUnmap is VFIO_USER_DMA_UNMAP: argsz u32, flags u32, address u64, size u64,
// which are those of one DMA_MAP, or 0 with the flag that says all. The reply
// has the request's body. After it the device has no more access: nobody holds
// a slice of the memory, for we have the lock.
func (s *session) dmaUnmap(m *message) error {
	if err := m.needInfo(dmaUnmapLen); err != nil {
		return err
	}
	flags, addr, size := ne.Uint32(m.body[4:]), ne.Uint64(m.body[8:]), ne.Uint64(m.body[16:])
	switch {
	case flags == dmaUnmapAll && addr == 0 && size == 0:
		s.bus.dma.clear()
	case flags == 0:
		if err := s.bus.dma.remove(addr, size); err != nil {
			return err
		}
	default:
		return fmt.Errorf("DMA_UNMAP with flags %#x, address %#x, size %d: %w", flags, addr, size, unix.EINVAL)
	}
	copy(s.startReply(dmaUnmapLen), m.body)
	return nil
}

// reset is VFIO_USER_DEVICE_RESET. Memory and eventfds stay.
func (s *session) reset(m *message) error {
	if err := m.need(0); err != nil {
		return err
	}
	s.config.reset()
	clear(s.table)
	s.bus.irq.reset()
	s.dev.Reset()
	s.startReply(0)
	return nil
}
