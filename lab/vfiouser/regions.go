//go:build linux

package vfiouser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// regionRead is VFIO_USER_REGION_READ: offset u64, region u32, count u32. The
// reply has the same, and the data.
func (s *session) regionRead(m *message) error {
	if err := m.need(accessLen); err != nil {
		return err
	}
	off, region, count := ne.Uint64(m.body), ne.Uint32(m.body[8:]), ne.Uint32(m.body[12:])
	if count > s.maxRead {
		return fmt.Errorf("read of %d bytes, %d at most: %w", count, s.maxRead, unix.EINVAL)
	}
	if err := s.checkAccess(region, off, count); err != nil {
		return err
	}
	b := s.startReply(accessLen + int(count))
	copy(b, m.body)
	return s.read(region, off, b[accessLen:])
}

// regionWrite is VFIO_USER_REGION_WRITE: offset u64, region u32, count u32,
// data. The reply has the same without the data.
func (s *session) regionWrite(m *message) error {
	if len(m.body) < accessLen {
		return fmt.Errorf("write with %d bytes, needs %d: %w", len(m.body), accessLen, unix.EINVAL)
	}
	off, region, count := ne.Uint64(m.body), ne.Uint32(m.body[8:]), ne.Uint32(m.body[12:])
	data := m.body[accessLen:]
	if uint64(count) != uint64(len(data)) {
		return fmt.Errorf("write of %d bytes with %d bytes of data: %w", count, len(data), unix.EINVAL)
	}
	if err := s.checkAccess(region, off, count); err != nil {
		return err
	}
	copy(s.startReply(accessLen), m.body)
	return s.write(region, off, data)
}

// regionWriteMulti is VFIO_USER_REGION_WRITE_MULTI: wr_cnt u64, then for each
// write offset u64, region u32, count u32, 8 bytes of data. The reply has
// wr_cnt. None is done if one of them can't be; if the device refuses one, those
// before it are done and the answer is an error.
func (s *session) regionWriteMulti(m *message) error {
	if len(m.body) < 8 {
		return fmt.Errorf("WRITE_MULTI with %d bytes: %w", len(m.body), unix.EINVAL)
	}
	n, writes := ne.Uint64(m.body), m.body[8:]
	if n == 0 || len(writes)%multiLen != 0 || n != uint64(len(writes)/multiLen) {
		return fmt.Errorf("WRITE_MULTI of %d writes in %d bytes: %w", n, len(writes), unix.EINVAL)
	}
	each := func(f func(region uint32, off uint64, count uint32, data []byte) error) error {
		for w := writes; len(w) > 0; w = w[multiLen:] {
			if err := f(ne.Uint32(w[8:]), ne.Uint64(w), ne.Uint32(w[12:]), w[accessLen:multiLen]); err != nil {
				return err
			}
		}
		return nil
	}
	err := each(func(region uint32, off uint64, count uint32, _ []byte) error {
		if count > multiData {
			return fmt.Errorf("WRITE_MULTI of %d bytes, %d at most: %w", count, multiData, unix.EINVAL)
		}
		return s.checkAccess(region, off, count)
	})
	if err != nil {
		return err
	}
	copy(s.startReply(8), m.body[:8])
	return each(func(region uint32, off uint64, count uint32, data []byte) error {
		return s.write(region, off, data[:count])
	})
}

// checkAccess fails unless count bytes at off, one at least, are inside the
// region, and either all or none of them belong to the MSI-X table or to the
// pending bits.
func (s *session) checkAccess(region uint32, off uint64, count uint32) error {
	n := uint64(count)
	size := s.regionSize(region)
	if n == 0 || n > size || off > size-n {
		return fmt.Errorf("access to %d bytes at offset %#x of region %d, which has %d: %w", n, off, region, size, unix.EINVAL)
	}
	for _, w := range []window{s.info.table(), s.info.pba()} {
		if w.overlaps(int(region), off, n) && !w.holds(int(region), off, n) {
			return fmt.Errorf("access to %d bytes at offset %#x of region %d, partly MSI-X: %w", n, off, region, unix.EINVAL)
		}
	}
	return nil
}

// read reads what checkAccess has passed.
func (s *session) read(region uint32, off uint64, p []byte) error {
	if region == regionConfig {
		s.config.read(off, p)
		return nil
	}
	bar, n := int(region), uint64(len(p))
	if w := s.info.table(); w.holds(bar, off, n) {
		copy(p, s.table[off-w.off:])
		return nil
	}
	if w := s.info.pba(); w.holds(bar, off, n) {
		s.bus.irq.pendingBits(off-w.off, p)
		return nil
	}
	return s.dev.ReadBAR(bar, off, p)
}

// write writes what checkAccess has passed.
//
// The client emulates the MSI-X table: what is written to ours can be read
// again, and has no effect. The pending bits can't be written.
func (s *session) write(region uint32, off uint64, p []byte) error {
	if region == regionConfig {
		s.config.write(off, p)
		return nil
	}
	bar, n := int(region), uint64(len(p))
	if w := s.info.table(); w.holds(bar, off, n) {
		copy(s.table[off-w.off:], p)
		return nil
	}
	if w := s.info.pba(); w.holds(bar, off, n) {
		return nil
	}
	return s.dev.WriteBAR(bar, off, p)
}
