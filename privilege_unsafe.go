//go:build linux

package zctap

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openCapabilities are the capabilities that only Open needs.
var openCapabilities = []uint{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF, unix.CAP_IPC_LOCK}

// dropCapabilities takes them from all threads: from the permitted set, which is
// what they could be raised from again, and with it the effective and, as the
// kernel sees to, the ambient ones; and from the inheritable set. See capset(2).
func dropCapabilities() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for _, c := range openCapabilities {
		d := &data[c/32]
		d.Permitted &^= 1 << (c % 32)
		d.Effective &^= 1 << (c % 32)
		d.Inheritable &^= 1 << (c % 32)
	}
	// capset(2) is about the calling thread only.
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data)), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}
