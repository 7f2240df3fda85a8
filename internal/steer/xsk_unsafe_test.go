//go:build linux

package steer

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An xsk is an AF_XDP socket that receives in copy mode, as little of one as shows
// what is steered to it. One goroutine uses it.
type xsk struct {
	fd         int
	umem, maps []([]byte)
	fill, rx   xskRing
	sg         bool // takes frames of several buffers
}

// An xskRing is a ring shared with the kernel. Of the fill ring we write the producer
// and the entries, of the RX ring the consumer; the kernel writes the others.
type xskRing struct {
	producer, consumer *uint32
	entries            unsafe.Pointer
}

const (
	xskFrames    = 64 // also the length of each ring
	xskFrameSize = 4096
)

// newXSK binds a socket to a queue of an interface of the thread's network
// namespace. Frames of several buffers are taken too, from Linux 6.6 on.
func newXSK(ifindex, queue int) (_ *xsk, err error) {
	x := new(xsk)
	x.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	umem, err := unix.Mmap(-1, 0, xskFrames*xskFrameSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	x.umem = [][]byte{umem}
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&umem[0]))), Len: uint64(len(umem)), Size: xskFrameSize}
	if err := x.setsockopt(unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg)); err != nil {
		return nil, err
	}
	for _, ring := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		if err := unix.SetsockoptInt(x.fd, unix.SOL_XDP, ring, xskFrames); err != nil {
			return nil, err
		}
	}
	var off unix.XDPMmapOffsets
	size := uint32(unsafe.Sizeof(off))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&off)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("getsockopt XDP_MMAP_OFFSETS", errno)
	}
	if x.fill, err = x.ring(unix.XDP_UMEM_PGOFF_FILL_RING, off.Fr, 8); err != nil {
		return nil, err
	}
	if x.rx, err = x.ring(unix.XDP_PGOFF_RX_RING, off.Rx, unsafe.Sizeof(unix.XDPDesc{})); err != nil {
		return nil, err
	}
	for i := range uint32(xskFrames) {
		x.refill(uint64(i) * xskFrameSize)
	}
	sa := &unix.SockaddrXDP{Flags: unix.XDP_COPY | unix.XDP_USE_SG, Ifindex: uint32(ifindex), QueueID: uint32(queue)}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := unix.Bind(x.fd, sa)
		switch {
		case errors.Is(err, unix.EINVAL) && sa.Flags&unix.XDP_USE_SG != 0:
			sa.Flags &^= unix.XDP_USE_SG
		// The kernel takes its time to release the queue from a process that was killed.
		case errors.Is(err, unix.EBUSY) && time.Now().Before(deadline):
		default:
			x.sg = sa.Flags&unix.XDP_USE_SG != 0
			return x, err
		}
	}
}

func (x *xsk) setsockopt(opt int, p unsafe.Pointer, n uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, uintptr(opt), uintptr(p), n, 0)
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}

func (x *xsk) ring(pgoff int64, off unix.XDPRingOffset, entry uintptr) (xskRing, error) {
	m, err := unix.Mmap(x.fd, pgoff, int(off.Desc+xskFrames*uint64(entry)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return xskRing{}, fmt.Errorf("mmap of a ring: %w", err)
	}
	x.maps = append(x.maps, m)
	return xskRing{
		producer: (*uint32)(unsafe.Pointer(&m[off.Producer])),
		consumer: (*uint32)(unsafe.Pointer(&m[off.Consumer])),
		entries:  unsafe.Pointer(&m[off.Desc]),
	}, nil
}

// refill gives a buffer to the kernel. There is always room: as many entries as
// buffers. The store pairs with the kernel's load of the producer.
func (x *xsk) refill(addr uint64) {
	at := *x.fill.producer
	*(*uint64)(unsafe.Add(x.fill.entries, 8*(at%xskFrames))) = addr
	atomic.StoreUint32(x.fill.producer, at+1)
}

// receive returns the next frame, or an error that is ETIMEDOUT.
func (x *xsk) receive(timeout time.Duration) ([]byte, error) {
	var frame []byte
	for deadline := time.Now().Add(timeout); ; {
		at := *x.rx.consumer
		if at == atomic.LoadUint32(x.rx.producer) { // pairs with the kernel's store after the entries
			left := time.Until(deadline)
			if left <= 0 {
				return frame, unix.ETIMEDOUT
			}
			fds := []unix.PollFd{{Fd: int32(x.fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
				return nil, err
			}
			continue
		}
		d := *(*unix.XDPDesc)(unsafe.Add(x.rx.entries, unsafe.Sizeof(unix.XDPDesc{})*uintptr(at%xskFrames)))
		frame = append(frame, x.umem[0][d.Addr:][:d.Len]...)
		atomic.StoreUint32(x.rx.consumer, at+1)
		x.refill(d.Addr &^ (xskFrameSize - 1))
		if d.Options&unix.XDP_PKT_CONTD == 0 {
			return frame, nil
		}
	}
}

// pending reports whether there is a frame.
func (x *xsk) pending() bool { return *x.rx.consumer != atomic.LoadUint32(x.rx.producer) }

func (x *xsk) close() {
	if x.fd >= 0 {
		unix.Close(x.fd)
	}
	for _, m := range append(x.maps, x.umem...) {
		unix.Munmap(m)
	}
	x.fd, x.maps, x.umem = -1, nil, nil
}

func TestXSKLayout(t *testing.T) {
	if n := unsafe.Sizeof(unix.XDPDesc{}); n != 16 {
		t.Errorf("sizeof(struct xdp_desc) is %d, want 16", n)
	}
	if n := unsafe.Sizeof(unix.XDPUmemReg{}); n != 32 {
		t.Errorf("sizeof(struct xdp_umem_reg) is %d, want 32", n)
	}
}
