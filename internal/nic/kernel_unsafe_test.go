//go:build linux

package nic

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadXDPPass loads a program of two instructions: r0 = XDP_PASS; exit.
func loadXDPPass(t *testing.T) int {
	t.Helper()
	insns := [2]uint64{0x00000002_0000_00_b7, 0x00000000_0000_00_95}
	license := [4]byte{'G', 'P', 'L'}
	// The beginning of union bpf_attr, as BPF_PROG_LOAD has it.
	attr := struct {
		typ, count              uint32
		insns, license          unsafe.Pointer
		logLevel, logSize       uint32
		log                     uint64
		kernVersion, progFlags  uint32
		name                    [16]byte
		ifindex, expectedAttach uint32
	}{typ: unix.BPF_PROG_TYPE_XDP, count: 2, insns: unsafe.Pointer(&insns), license: unsafe.Pointer(&license)}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		t.Fatalf("BPF_PROG_LOAD: %v", errno)
	}
	return int(fd)
}

// newRing sets up an io_uring.
func newRing(t *testing.T) int {
	t.Helper()
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Fatalf("io_uring_setup: %v", errno)
	}
	return int(fd)
}
