//go:build linux

package vfiousertest

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A Memory is guest memory that the device can reach.
type Memory struct {
	// Addr is where the device sees it.
	Addr uint64
	// Bytes are the memory, shared with the device: what the other side may be
	// writing at the time has to be read by Load32 (see there).
	Bytes []byte
	// FD is the memory's file, a memfd, which the device has too.
	FD int

	client *Client
}

// Map makes size bytes of memory and lets the device have them at addr. Both
// are multiples of the page size.
func (c *Client) Map(addr uint64, size int) (*Memory, error) {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("vfiousertest: memfd_create: %w", err)
	}
	m := &Memory{Addr: addr, FD: fd, client: c}
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		m.Bytes, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vfiousertest: %d bytes of memory: %w", size, err), m.release())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.do(CmdDMAMap, MapBody(MapRead|MapWrite, 0, addr, uint64(size)), fd); err != nil {
		return nil, errors.Join(err, m.release())
	}
	c.memory = append(c.memory, m)
	return m, nil
}

// MapBody encodes the body of CmdDMAMap.
func MapBody(flags uint32, offset, addr, size uint64) []byte {
	b := make([]byte, 32)
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[4:], flags)
	le.PutUint64(b[8:], offset)
	le.PutUint64(b[16:], addr)
	le.PutUint64(b[24:], size)
	return b
}

// UnmapBody encodes the body of CmdDMAUnmap.
func UnmapBody(flags uint32, addr, size uint64) []byte {
	b := make([]byte, 24)
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[4:], flags)
	le.PutUint64(b[8:], addr)
	le.PutUint64(b[16:], size)
	return b
}

// Unmap takes the memory from the device. Bytes must not be touched any more.
func (m *Memory) Unmap() error {
	c := m.client
	c.mu.Lock()
	defer c.mu.Unlock()
	body := UnmapBody(0, m.Addr, uint64(len(m.Bytes)))
	reply, err := c.do(CmdDMAUnmap, body)
	if err != nil {
		return err
	}
	if !slices.Equal(reply, body) {
		return fmt.Errorf("vfiousertest: unmap: reply %x to %x", reply, body)
	}
	c.memory = slices.DeleteFunc(c.memory, func(o *Memory) bool { return o == m })
	return m.release()
}

// Truncate shortens the file behind the memory to size bytes, as only a hostile
// client does: an access beyond raises SIGBUS, on either side.
func (m *Memory) Truncate(size int64) error { return unix.Ftruncate(m.FD, size) }

func (m *Memory) release() error {
	var err error
	if m.Bytes != nil {
		err = unix.Munmap(m.Bytes)
	}
	err = errors.Join(err, unix.Close(m.FD))
	m.Bytes, m.FD = nil, -1
	return err
}
