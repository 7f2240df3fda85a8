//go:build linux

package xdp

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// The structures that go through setsockopt and getsockopt are Go memory, which
// the kernel reads or writes within the call. The rings are memory of the
// kernel's, mapped until the queue is closed. The UMEM is the region: pinned by
// the kernel, and kept by the pool while the driver holds buffers of it.

// registerUMEM makes memory the socket's UMEM, in chunks of that size.
func registerUMEM(fd int, memory []byte, chunk, headroom int) error {
	reg := unix.XDPUmemReg{
		Addr:     uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))),
		Len:      uint64(len(memory)),
		Size:     uint32(chunk),
		Headroom: uint32(headroom),
	}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
		uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0)
	runtime.KeepAlive(memory)
	if errno != 0 {
		return errno
	}
	return nil
}

// getXDP reads an option of level SOL_XDP into v. A kernel that knows less of
// the structure than we do is an error.
func getXDP[T any](fd, option int, v *T) error {
	size := uint32(unsafe.Sizeof(*v))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(unsafe.Pointer(v)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	if uintptr(size) != unsafe.Sizeof(*v) {
		return fmt.Errorf("the kernel's structure has %d bytes, ours %d: %w", size, unsafe.Sizeof(*v), unix.EOPNOTSUPP)
	}
	return nil
}

// mapRing maps a ring of entries of type E (struct xdp_desc, or u64) and returns
// its mapping, its shared words and its entries.
func mapRing[E any](fd int, page int64, off *unix.XDPRingOffset, entries uint32) (mem []byte, w shring.Words, ring []E, err error) {
	var e E
	length := uint64(entries) * uint64(unsafe.Sizeof(e))
	// Offsets in a structure of the kernel's, a cache line or two apart.
	if most := uint64(1 << 16); max(off.Producer, off.Consumer, off.Flags, off.Desc) > most || off.Desc%8 != 0 {
		return nil, w, nil, fmt.Errorf("ring with offsets %+v: %w", *off, unix.EINVAL)
	}
	mem, err = unix.Mmap(fd, page, int(off.Desc+length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, w, nil, fmt.Errorf("mmap: %w", err)
	}
	word := func(at uint64) *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(mem[at : at+4]))) }
	w = shring.Words{Producer: word(off.Producer), Consumer: word(off.Consumer), Flags: word(off.Flags), Size: entries}
	return mem, w, unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(mem[off.Desc:]))), entries), nil
}

// ethtoolChannels is struct ethtool_channels (linux/ethtool.h).
type ethtoolChannels struct {
	cmd                                 uint32
	maxRX, maxTX, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

// ethtoolRequest is struct ifreq (netdevice(7)) with ifr_data in its union, the
// longest member of which is struct ifmap.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// channels asks for an interface's numbers of queues, by any socket of its
// namespace.
func channels(socket int, name string) (ethtoolChannels, error) {
	c := &ethtoolChannels{cmd: unix.ETHTOOL_GCHANNELS}
	req := &ethtoolRequest{data: unsafe.Pointer(c)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	runtime.KeepAlive(c)
	if errno != 0 {
		return *c, errno
	}
	return *c, nil
}
