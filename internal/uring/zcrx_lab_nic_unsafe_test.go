//go:build linux

package uring

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf makes the system call bpf(2), with the beginning of union bpf_attr.
func bpf[T any](t *testing.T, command uintptr, attr *T) int {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		t.Fatalf("bpf(%d): %v", command, errno)
	}
	return keep(t, int(fd))
}

// attachXDP attaches a program of two instructions, r0 = XDP_PASS and exit, to the interface until the test's end.
func (n *nic) attachXDP(t *testing.T) {
	t.Helper()
	// The kernel switches the NIC's own GRO off for a program that the driver has no part in, for good.
	commands(t, "true", "ethtool -K "+n.name+" rx-gro-hw on")
	program := [2]uint64{0x00000002_0000_00_b7, 0x00000000_0000_00_95}
	license := [4]byte{'G', 'P', 'L'}
	fd := bpf(t, unix.BPF_PROG_LOAD, &struct {
		kind, count      uint32
		program, license unsafe.Pointer
		log              [2]uint64
		version, flags   uint32
	}{
		kind: unix.BPF_PROG_TYPE_XDP, count: 2, program: unsafe.Pointer(&program), license: unsafe.Pointer(&license),
		flags: unix.BPF_F_XDP_HAS_FRAGS, // or there must be no data split
	})
	bpf(t, unix.BPF_LINK_CREATE, &struct{ program, target, attach, flags uint32 }{uint32(fd), uint32(n.index), unix.BPF_XDP, unix.XDP_FLAGS_SKB_MODE})
}

// bindXSK binds an AF_XDP socket to the queue until the test's end.
func (n *nic) bindXSK(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	keep(t, fd)
	frames := memory(t, 16*page)
	umem := unix.XDPUmemReg{Addr: uint64(AddrOf(frames)), Len: uint64(len(frames)), Size: page}
	must(t, unix.SetsockoptString(fd, unix.SOL_XDP, unix.XDP_UMEM_REG, string(unsafe.Slice((*byte)(unsafe.Pointer(&umem)), unsafe.Sizeof(umem)))))
	for _, ring := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		must(t, unix.SetsockoptInt(fd, unix.SOL_XDP, ring, 16))
	}
	must(t, unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(n.index), QueueID: nicQueue}))
}
