//go:build linux

package netns

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolArg is struct ethtool_value (linux/ethtool.h): a command and its one
// argument, or its one answer.
type ethtoolArg struct {
	cmd  uint32
	data uint32
}

// ethtoolIfreq is struct ifreq (netdevice(7)) with ifr_data in its union, the
// longest member of which is struct ifmap.
type ethtoolIfreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ethtoolValue carries out an ETHTOOL_G* or ETHTOOL_S* command that takes one
// number, for a link of the thread's namespace, and returns the number that
// the kernel answers.
func ethtoolValue(link string, cmd, data uint32) (uint32, error) {
	if len(link) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("link name %q: %w", link, unix.ENAMETOOLONG)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	arg := &ethtoolArg{cmd: cmd, data: data}
	req := &ethtoolIfreq{data: unsafe.Pointer(arg)}
	copy(req.name[:], link)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return 0, fmt.Errorf("ioctl SIOCETHTOOL %#x: %w", cmd, errno)
	}
	return arg.data, nil
}
