//go:build linux

package netns

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LoadXDPPass loads an XDP program of two instructions, r0 = XDP_PASS; exit, for a test to
// attach. The caller closes the descriptor. Errors: EPERM without CAP_BPF and CAP_NET_ADMIN.
func LoadXDPPass() (fd int, err error) {
	instructions := [2]uint64{0x00000002_0000_00_b7, 0x00000000_0000_00_95}
	license := [4]byte{'G', 'P', 'L'}
	var pins runtime.Pinner // the kernel's structure has numbers of 8 bytes, also on 32-bit machines
	defer pins.Unpin()
	pins.Pin(&instructions)
	pins.Pin(&license)
	// The beginning of union bpf_attr, as BPF_PROG_LOAD has it.
	attr := struct {
		kind, count              uint32
		instructions, license    uint64
		logLevel, logSize        uint32
		log                      uint64
		kernelVersion, progFlags uint32
	}{
		kind: unix.BPF_PROG_TYPE_XDP, count: 2,
		instructions: uint64(uintptr(unsafe.Pointer(&instructions))), license: uint64(uintptr(unsafe.Pointer(&license))),
	}
	r, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, fmt.Errorf("netns: BPF_PROG_LOAD: %w", errno)
	}
	return int(r), nil
}
