//go:build linux

package uring

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// layoutValues are the sizes and offsets of the structures that the kernel reads and writes.
func layoutValues() []cValue {
	var values []cValue
	size := func(c string, n uintptr) {
		values = append(values, cValue{"sizeof(struct " + c + ")", c, uint64(n)})
	}
	offset := func(c, field, known string, n uintptr) {
		values = append(values, cValue{"offsetof(struct " + c + ", " + field + ")", known, uint64(n)})
	}

	var sqe SQE
	size("io_uring_sqe", unsafe.Sizeof(sqe))
	for field, n := range map[string]uintptr{
		"opcode": unsafe.Offsetof(sqe.Opcode), "flags": unsafe.Offsetof(sqe.Flags), "ioprio": unsafe.Offsetof(sqe.IOPrio),
		"fd": unsafe.Offsetof(sqe.FD), "off": unsafe.Offsetof(sqe.Off), "addr2": unsafe.Offsetof(sqe.Off),
		"addr": unsafe.Offsetof(sqe.Addr), "len": unsafe.Offsetof(sqe.Len), "msg_flags": unsafe.Offsetof(sqe.OpFlags),
		"poll32_events": unsafe.Offsetof(sqe.OpFlags), "accept_flags": unsafe.Offsetof(sqe.OpFlags),
		"timeout_flags": unsafe.Offsetof(sqe.OpFlags), "cancel_flags": unsafe.Offsetof(sqe.OpFlags),
		"user_data": unsafe.Offsetof(sqe.UserData), "buf_group": unsafe.Offsetof(sqe.BufGroup),
		"personality": unsafe.Offsetof(sqe.Personality), "file_index": unsafe.Offsetof(sqe.FileIndex),
		"addr_len": unsafe.Offsetof(sqe.FileIndex), "addr3": unsafe.Offsetof(sqe.Addr3),
		"__pad2": unsafe.Offsetof(sqe.Pad),
	} {
		offset("io_uring_sqe", field, field, n)
	}
	offset("io_uring_sqe", "zcrx_ifq_idx", "zcrx_ifq_idx", unsafe.Offsetof(sqe.FileIndex))

	var cqe cqeSlot
	size("io_uring_cqe", unsafe.Sizeof(cqe)) // without its flexible second half
	offset("io_uring_cqe", "user_data", "io_uring_cqe", unsafe.Offsetof(cqe.userData))
	offset("io_uring_cqe", "res", "io_uring_cqe", unsafe.Offsetof(cqe.res))
	offset("io_uring_cqe", "flags", "io_uring_cqe", unsafe.Offsetof(cqe.flags))
	offset("io_uring_cqe", "big_cqe", "io_uring_cqe", unsafe.Sizeof(cqe))

	var sq sqOffsets
	size("io_sqring_offsets", unsafe.Sizeof(sq))
	for field, n := range map[string]uintptr{
		"head": unsafe.Offsetof(sq.head), "tail": unsafe.Offsetof(sq.tail), "ring_mask": unsafe.Offsetof(sq.ringMask),
		"ring_entries": unsafe.Offsetof(sq.ringEntries), "flags": unsafe.Offsetof(sq.flags),
		"dropped": unsafe.Offsetof(sq.dropped), "array": unsafe.Offsetof(sq.array),
	} {
		offset("io_sqring_offsets", field, "io_sqring_offsets", n)
	}
	var cq cqOffsets
	size("io_cqring_offsets", unsafe.Sizeof(cq))
	for field, n := range map[string]uintptr{
		"head": unsafe.Offsetof(cq.head), "tail": unsafe.Offsetof(cq.tail), "ring_mask": unsafe.Offsetof(cq.ringMask),
		"ring_entries": unsafe.Offsetof(cq.ringEntries), "overflow": unsafe.Offsetof(cq.overflow),
		"cqes": unsafe.Offsetof(cq.cqes), "flags": unsafe.Offsetof(cq.flags),
	} {
		offset("io_cqring_offsets", field, "io_cqring_offsets", n)
	}
	var p setupParams
	size("io_uring_params", unsafe.Sizeof(p))
	for field, n := range map[string]uintptr{
		"sq_entries": unsafe.Offsetof(p.sqEntries), "cq_entries": unsafe.Offsetof(p.cqEntries), "flags": unsafe.Offsetof(p.flags),
		"features": unsafe.Offsetof(p.features), "wq_fd": unsafe.Offsetof(p.wqFD), "resv": unsafe.Offsetof(p.resv),
		"sq_off": unsafe.Offsetof(p.sqOff), "cq_off": unsafe.Offsetof(p.cqOff),
	} {
		offset("io_uring_params", field, "io_uring_params", n)
	}

	var arg getEventsArg
	size("io_uring_getevents_arg", unsafe.Sizeof(arg))
	offset("io_uring_getevents_arg", "sigmask", "io_uring_getevents_arg", unsafe.Offsetof(arg.sigmask))
	offset("io_uring_getevents_arg", "sigmask_sz", "io_uring_getevents_arg", unsafe.Offsetof(arg.sigmaskSize))
	offset("io_uring_getevents_arg", "min_wait_usec", "min_wait_usec", unsafe.Offsetof(arg.minWaitUsec))
	offset("io_uring_getevents_arg", "ts", "io_uring_getevents_arg", unsafe.Offsetof(arg.ts))
	var ts timespec
	size("__kernel_timespec", unsafe.Sizeof(ts))
	offset("__kernel_timespec", "tv_nsec", "__kernel_timespec", unsafe.Offsetof(ts.nsec))

	var entry bufEntry
	size("io_uring_buf", unsafe.Sizeof(entry))
	values = append(values, cValue{"sizeof(struct io_uring_buf)", "io_uring_buf", bufEntrySize})
	offset("io_uring_buf", "addr", "io_uring_buf", unsafe.Offsetof(entry.addr))
	offset("io_uring_buf", "len", "io_uring_buf", unsafe.Offsetof(entry.len))
	offset("io_uring_buf", "bid", "io_uring_buf", unsafe.Offsetof(entry.bid))
	offset("io_uring_buf", "bid", "io_uring_buf", bufTailWord)
	offset("io_uring_buf_ring", "tail", "io_uring_buf_ring", unsafe.Offsetof(entry.tail))
	offset("io_uring_buf_ring", "tail", "io_uring_buf_ring", bufTailWord+2)
	var reg bufReg
	size("io_uring_buf_reg", unsafe.Sizeof(reg))
	offset("io_uring_buf_reg", "ring_addr", "io_uring_buf_reg", unsafe.Offsetof(reg.addr))
	offset("io_uring_buf_reg", "ring_entries", "io_uring_buf_reg", unsafe.Offsetof(reg.entries))
	offset("io_uring_buf_reg", "bgid", "io_uring_buf_reg", unsafe.Offsetof(reg.group))
	offset("io_uring_buf_reg", "flags", "IOU_PBUF_RING_MMAP", unsafe.Offsetof(reg.flags))
	var status bufStatus
	size("io_uring_buf_status", unsafe.Sizeof(status))
	offset("io_uring_buf_status", "buf_group", "io_uring_buf_status", unsafe.Offsetof(status.group))
	offset("io_uring_buf_status", "head", "io_uring_buf_status", unsafe.Offsetof(status.head))

	var up rsrcUpdate
	size("io_uring_rsrc_update", unsafe.Sizeof(up))
	offset("io_uring_rsrc_update", "offset", "io_uring_rsrc_update", unsafe.Offsetof(up.offset))
	offset("io_uring_rsrc_update", "data", "io_uring_rsrc_update", unsafe.Offsetof(up.data))

	var probe probeArg
	var op probeOp
	size("io_uring_probe_op", unsafe.Sizeof(op))
	offset("io_uring_probe_op", "op", "io_uring_probe_op", unsafe.Offsetof(op.op))
	offset("io_uring_probe_op", "flags", "io_uring_probe_op", unsafe.Offsetof(op.flags))
	size("io_uring_probe", unsafe.Offsetof(probe.ops))
	offset("io_uring_probe", "last_op", "io_uring_probe", unsafe.Offsetof(probe.lastOp))
	offset("io_uring_probe", "ops_len", "io_uring_probe", unsafe.Offsetof(probe.opsLen))
	offset("io_uring_probe", "ops", "io_uring_probe", unsafe.Offsetof(probe.ops))

	size("io_uring_recvmsg_out", recvMsgHeader)
	for i, field := range []string{"namelen", "controllen", "payloadlen", "flags"} {
		offset("io_uring_recvmsg_out", field, "io_uring_recvmsg_out", uintptr(4*i))
	}
	return values
}

// TestLayout is the check that needs no header: the sizes that the kernel's ABI fixes.
func TestLayout(t *testing.T) {
	for _, tc := range []struct {
		name      string
		got, want uintptr
	}{
		{"SQE", unsafe.Sizeof(SQE{}), 64},
		{"SQE.UserData", unsafe.Offsetof(SQE{}.UserData), 32},
		{"SQE.FileIndex", unsafe.Offsetof(SQE{}.FileIndex), 44},
		{"SQE.Addr3", unsafe.Offsetof(SQE{}.Addr3), 48},
		{"CQE", unsafe.Sizeof(CQE{}), 32},
		{"CQE.Extra", unsafe.Offsetof(CQE{}.Extra), 16},
		{"cqeSlot", unsafe.Sizeof(cqeSlot{}), 16},
		{"setupParams", unsafe.Sizeof(setupParams{}), 120},
		{"getEventsArg", unsafe.Sizeof(getEventsArg{}), 24},
		{"timespec", unsafe.Sizeof(timespec{}), 16},
		{"bufEntry", unsafe.Sizeof(bufEntry{}), 16},
		{"bufReg", unsafe.Sizeof(bufReg{}), 40},
		{"bufStatus", unsafe.Sizeof(bufStatus{}), 40},
		{"rsrcUpdate", unsafe.Sizeof(rsrcUpdate{}), 16},
		{"probeArg", unsafe.Sizeof(probeArg{}), 16 + 256*8},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %d, want %d", tc.name, tc.got, tc.want)
		}
	}
	if n := unsafe.Sizeof(enterArg{}); n > argsHeader {
		t.Errorf("the arguments of enter need %d bytes, have %d", n, argsHeader)
	}
	for name, n := range map[string]uintptr{
		"sockaddr_in6": unix.SizeofSockaddrInet6, "timespec": unsafe.Sizeof(timespec{}), "msghdr": unsafe.Sizeof(unix.Msghdr{}),
	} {
		if n > argSlotSize {
			t.Errorf("%s needs %d bytes, an argument slot has %d", name, n, argSlotSize)
		}
	}
}
