//go:build linux

package uring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bufReg is struct io_uring_buf_reg, the argument of the two registrations.
type bufReg struct {
	addr    uint64
	entries uint32
	group   uint16
	flags   uint16
	resv    [3]uint64
}

// Flags of bufReg.
const (
	pbufMmap        = 1 << 0 // IOU_PBUF_RING_MMAP: the kernel allocates the ring
	pbufIncremental = 1 << 1 // IOU_PBUF_RING_INC
)

// bufStatus is struct io_uring_buf_status.
type bufStatus struct {
	group uint32
	head  uint32 // written by the kernel
	resv  [8]uint32
}

// register gives the kernel the ring, or takes it from the kernel, and maps it.
func (b *BufRing) register(cfg BufRingConfig) error {
	size := BufRingSize(cfg.Entries)
	reg := bufReg{entries: cfg.Entries, group: cfg.Group}
	if cfg.Incremental {
		reg.flags |= pbufIncremental
	}
	mem := cfg.Memory
	if mem == nil {
		reg.flags |= pbufMmap
	} else {
		if len(mem) < size {
			return fmt.Errorf("uring: provided-buffer ring of %d entries in %d bytes of memory, needs %d", cfg.Entries, len(mem), size)
		}
		if AddrOf(mem)%uintptr(os.Getpagesize()) != 0 {
			return fmt.Errorf("uring: the memory of a provided-buffer ring must start on a page")
		}
		reg.addr = uint64(AddrOf(mem))
		clear(mem[:size]) // the tail must be 0 before the kernel can look at it
	}
	if errno := registerStruct(b.ring.fd, registerPbufRing, &reg, 1); errno != 0 {
		err := wrapRegister(fmt.Sprintf("PBUF_RING, group %d", cfg.Group), errno)
		if errno == unix.EINVAL {
			return fmt.Errorf("%w (kernels before Linux 6.4 want BufRingConfig.Memory, before 6.12 know no Incremental)", err)
		}
		return err
	}
	if mem == nil {
		off := int64(mmapPbufRing | uint64(cfg.Group)<<mmapPbufShift)
		var err error
		if mem, err = unix.Mmap(b.ring.fd, off, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
			err = fmt.Errorf("uring: mmap of provided-buffer ring %d: %w", cfg.Group, err)
			if errno := registerStruct(b.ring.fd, unregisterPbufRing, &bufReg{group: cfg.Group}, 1); errno != 0 {
				err = errors.Join(err, wrapRegister("UNREGISTER_PBUF_RING", errno))
			}
			return err
		}
		b.mapped = mem
	}
	b.attach(mem)
	return nil
}

// attach lays the ring over mem, which has room for it.
func (b *BufRing) attach(mem []byte) {
	b.entries = unsafe.Slice((*bufEntry)(unsafe.Pointer(&mem[0])), len(b.bufs))
	b.tailBid = (*uint32)(unsafe.Pointer(&mem[bufTailWord]))
}

// unmap forgets the ring and unmaps it if the memory was the kernel's.
func (b *BufRing) unmap() error {
	mem := b.mapped
	b.ring, b.entries, b.tailBid, b.mapped = nil, nil, nil, nil
	if mem == nil {
		return nil
	}
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("uring: munmap of provided-buffer ring %d: %w", b.group, err)
	}
	return nil
}

// tailWord is the 32-bit word whose first 16 bits in memory are bid and whose second are tail.
func tailWord(bid, tail uint16) uint32 {
	var w [4]byte
	binary.NativeEndian.PutUint16(w[0:], bid)
	binary.NativeEndian.PutUint16(w[2:], tail)
	return binary.NativeEndian.Uint32(w[:])
}
