//go:build linux

package nic

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreqData is struct ifreq (netdevice(7)) with ifr_data in its union, the
// longest member of which is struct ifmap of 24 bytes.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ethtoolIoctl carries out the ETHTOOL_* command that arg begins with, for an
// interface of fd's network namespace. The kernel reads arg and writes its
// answer there; it must be as long as the command's structure with what follows
// that, for the kernel is not told its length.
func ethtoolIoctl(fd int, iface string, arg []byte) error {
	if len(iface) >= unix.IFNAMSIZ {
		return fmt.Errorf("interface name %q: %w", iface, unix.ENAMETOOLONG)
	}
	req := &ifreqData{data: unsafe.Pointer(unsafe.SliceData(arg))}
	copy(req.name[:], iface)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return errno
	}
	return nil
}
