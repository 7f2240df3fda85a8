//go:build linux

package zctap_test

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadXDPPass loads a program of two instructions: r0 = XDP_PASS; exit.
func loadXDPPass(t *testing.T) int {
	t.Helper()
	instructions := [2]uint64{0x00000002_0000_00_b7, 0x00000000_0000_00_95}
	license := [4]byte{'G', 'P', 'L'}
	// The beginning of union bpf_attr, as BPF_PROG_LOAD has it.
	attr := struct {
		kind, count              uint32
		instructions, license    unsafe.Pointer
		logLevel, logSize        uint32
		log                      uint64
		kernelVersion, progFlags uint32
	}{kind: unix.BPF_PROG_TYPE_XDP, count: 2, instructions: unsafe.Pointer(&instructions), license: unsafe.Pointer(&license)}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		t.Fatalf("BPF_PROG_LOAD: %v", errno)
	}
	return int(fd)
}
