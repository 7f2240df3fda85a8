//go:build linux

package uring

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// sysSetup calls io_uring_setup(2). The descriptor it returns closes on exec.
func sysSetup(entries uint32, p *setupParams) (int, unix.Errno) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), 0
}

// mapRings maps what the kernel shares of the ring and sets the cursors on it. The offsets come from the kernel; they are
// checked all the same, because a wrong one would be silent memory corruption.
func (r *Ring) mapRings(p *setupParams) (err error) {
	noArray := r.flags&SetupNoSQArray != 0
	r.stride = 1
	if r.flags&SetupCQE32 != 0 {
		r.stride = 2
	}
	slots := uint64(p.cqEntries) * uint64(r.stride)
	size := uint64(p.cqOff.cqes) + slots*uint64(unsafe.Sizeof(cqeSlot{}))
	if !noArray {
		size = max(size, uint64(p.sqOff.array)+uint64(p.sqEntries)*4)
	}
	prot, populate := unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE
	if r.rings, err = unix.Mmap(r.fd, mmapRings, int(size), prot, populate); err != nil {
		return fmt.Errorf("uring: mmap of the rings: %w", err)
	}
	if r.sqMem, err = unix.Mmap(r.fd, mmapSQEs, int(p.sqEntries)*int(unsafe.Sizeof(SQE{})), prot, populate); err != nil {
		return fmt.Errorf("uring: mmap of the SQEs: %w", err)
	}
	// Private memory that Go does not move, for what system calls and SQEs point to.
	argsSize := argsHeader + int(p.sqEntries)*argSlotSize
	if r.args, err = unix.Mmap(-1, 0, argsSize, prot, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		return fmt.Errorf("uring: mmap of the arguments: %w", err)
	}
	r.enterArg = (*enterArg)(unsafe.Pointer(&r.args[0]))
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&r.sqMem[0])), p.sqEntries)

	word := func(off uint32) *uint32 {
		if off%4 != 0 || uint64(off)+4 > size {
			err = fmt.Errorf("uring: the kernel places a ring word at offset %d of a mapping of %d bytes", off, size)
			return nil
		}
		return (*uint32)(unsafe.Pointer(&r.rings[off]))
	}
	sqWords := shring.Words{Producer: word(p.sqOff.tail), Consumer: word(p.sqOff.head), Flags: word(p.sqOff.flags), Size: p.sqEntries}
	cqWords := shring.Words{Producer: word(p.cqOff.tail), Consumer: word(p.cqOff.head), Size: p.cqEntries}
	r.dropped, r.overflow = word(p.sqOff.dropped), word(p.cqOff.overflow)
	if p.cqOff.cqes%8 != 0 || (!noArray && p.sqOff.array%4 != 0) {
		err = fmt.Errorf("uring: the kernel places the CQEs at offset %d and the SQ array at offset %d", p.cqOff.cqes, p.sqOff.array)
	}
	if err != nil {
		return err
	}
	if r.sq, err = shring.NewProducer(sqWords); err != nil {
		return err
	}
	if r.cq, err = shring.NewConsumer(cqWords); err != nil {
		return err
	}
	r.cqes = unsafe.Slice((*cqeSlot)(unsafe.Pointer(&r.rings[p.cqOff.cqes])), slots)
	if !noArray {
		// The array maps a queue slot to an SQE. Both are used in order here, so it is the identity, for good.
		for i, array := uint32(0), unsafe.Slice((*uint32)(unsafe.Pointer(&r.rings[p.sqOff.array])), p.sqEntries); i < p.sqEntries; i++ {
			array[i] = i
		}
	}
	return nil
}
