//go:build linux

package ksock

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The structures that the kernel reads and writes.
func TestLayout(t *testing.T) {
	const word = unsafe.Sizeof(uintptr(0))
	for name, sizes := range map[string][2]uintptr{
		"struct mmsghdr":             {unsafe.Sizeof(mmsghdr{}), unsafe.Sizeof(unix.Msghdr{}) + word},
		"mmsghdr.msg_len":            {unsafe.Offsetof(mmsghdr{}.len), unsafe.Sizeof(unix.Msghdr{})},
		"struct sockaddr_in6":        {unsafe.Sizeof(sockaddr{}), unsafe.Sizeof(unix.RawSockaddrInet6{})},
		"sockaddr_in.sin_port":       {2, unsafe.Offsetof(unix.RawSockaddrInet4{}.Port)},
		"sockaddr_in.sin_addr":       {4, unsafe.Offsetof(unix.RawSockaddrInet4{}.Addr)},
		"sockaddr_in6.sin6_addr":     {8, unsafe.Offsetof(unix.RawSockaddrInet6{}.Addr)},
		"sockaddr_in6.sin6_scope_id": {24, unsafe.Offsetof(unix.RawSockaddrInet6{}.Scope_id)},
		"in_pktinfo.ipi_addr":        {8, unsafe.Offsetof(unix.Inet4Pktinfo{}.Addr)},
		"in6_pktinfo.ipi6_ifindex":   {16, unsafe.Offsetof(unix.Inet6Pktinfo{}.Ifindex)},
		"cmsghdr.cmsg_level":         {cmsgAlign, unsafe.Offsetof(unix.Cmsghdr{}.Level)},
		"struct timespec":            {timespecLen, unsafe.Sizeof(unix.Timespec{})},
		"room for the control messages": {controlLen, uintptr(unix.CmsgSpace(unix.SizeofInet6Pktinfo) + 2*unix.CmsgSpace(4) +
			unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))},
		"alignment of the control messages": {unsafe.Alignof(control{}), word},
	} {
		if sizes[0] != sizes[1] {
			t.Errorf("%s: %d, want %d", name, sizes[0], sizes[1])
		}
	}
}
