//go:build linux

package uring

import (
	"testing"
	"unsafe"
)

// cStruct is a structure of the kernel's, by its name in the header, and what it is here. known is an identifier that is in
// the header if the structure is.
type cStruct struct {
	name, known string
	size        uintptr
	fields      map[string]uintptr
}

func zcrxStructs() []cStruct {
	var (
		off   zcrxOffsets
		reg   zcrxIfqReg
		area  zcrxAreaReg
		rd    regionDesc
		ev    zcrxEventDesc
		rqe   RefillEntry
		ctrl  zcrxCtrl
		hdr   queryHdr
		ops   queryOpcodesArg
		zq    queryZCRXArg
		eq    queryZCRXEventArg
		stats zcrxStats
		big   CQE
	)
	return []cStruct{
		{"io_uring_zcrx_offsets", "", unsafe.Sizeof(off), map[string]uintptr{
			"head": unsafe.Offsetof(off.head), "tail": unsafe.Offsetof(off.tail), "rqes": unsafe.Offsetof(off.rqes),
			"__resv2": unsafe.Offsetof(off.resv2), "__resv": unsafe.Offsetof(off.resv),
		}},
		{"io_uring_zcrx_ifq_reg", "zcrx_event_desc", unsafe.Sizeof(reg), map[string]uintptr{
			"if_idx": unsafe.Offsetof(reg.ifIdx), "if_rxq": unsafe.Offsetof(reg.ifRxq),
			"rq_entries": unsafe.Offsetof(reg.rqEntries), "flags": unsafe.Offsetof(reg.flags),
			"area_ptr": unsafe.Offsetof(reg.areaPtr), "region_ptr": unsafe.Offsetof(reg.regionPtr),
			"offsets": unsafe.Offsetof(reg.offsets), "zcrx_id": unsafe.Offsetof(reg.zcrxID),
			"rx_buf_len": unsafe.Offsetof(reg.rxBufLen), "event_desc": unsafe.Offsetof(reg.eventDesc),
			"__resv": unsafe.Offsetof(reg.resv),
		}},
		{"io_uring_zcrx_area_reg", "", unsafe.Sizeof(area), map[string]uintptr{
			"addr": unsafe.Offsetof(area.addr), "len": unsafe.Offsetof(area.size),
			"rq_area_token": unsafe.Offsetof(area.token), "flags": unsafe.Offsetof(area.flags),
			"dmabuf_fd": unsafe.Offsetof(area.dmabufFD), "__resv2": unsafe.Offsetof(area.resv),
		}},
		{"io_uring_region_desc", "", unsafe.Sizeof(rd), map[string]uintptr{
			"user_addr": unsafe.Offsetof(rd.userAddr), "size": unsafe.Offsetof(rd.size), "flags": unsafe.Offsetof(rd.flags),
			"id": unsafe.Offsetof(rd.id), "mmap_offset": unsafe.Offsetof(rd.mmapOffset), "__resv": unsafe.Offsetof(rd.resv),
		}},
		{"zcrx_event_desc", "", unsafe.Sizeof(ev), map[string]uintptr{
			"user_data": unsafe.Offsetof(ev.userData), "type_mask": unsafe.Offsetof(ev.typeMask),
			"flags": unsafe.Offsetof(ev.flags), "stats_offset": unsafe.Offsetof(ev.statsOffset), "__resv2": unsafe.Offsetof(ev.resv),
		}},
		{"io_uring_zcrx_rqe", "", refillEntrySize, map[string]uintptr{
			"off": unsafe.Offsetof(rqe.Token), "len": unsafe.Offsetof(rqe.Len), "__pad": unsafe.Offsetof(rqe.Pad),
		}},
		{"io_uring_zcrx_cqe", "", unsafe.Sizeof(big.Extra), map[string]uintptr{"off": 0}},
		{"zcrx_ctrl", "zcrx_ctrl_add_area", unsafe.Sizeof(ctrl), map[string]uintptr{
			"zcrx_id": unsafe.Offsetof(ctrl.zcrxID), "op": unsafe.Offsetof(ctrl.op), "__resv": unsafe.Offsetof(ctrl.resv),
			"zc_flush": unsafe.Offsetof(ctrl.arg), "zc_export.zcrx_fd": unsafe.Offsetof(ctrl.arg),
			"zc_arm_event.event_type": unsafe.Offsetof(ctrl.arg), "zc_area.area_ptr": unsafe.Offsetof(ctrl.arg),
		}},
		{"io_uring_query_hdr", "", unsafe.Sizeof(hdr), map[string]uintptr{
			"next_entry": unsafe.Offsetof(hdr.next), "query_data": unsafe.Offsetof(hdr.data),
			"query_op": unsafe.Offsetof(hdr.op), "size": unsafe.Offsetof(hdr.size),
			"result": unsafe.Offsetof(hdr.result), "__resv": unsafe.Offsetof(hdr.resv),
		}},
		{"io_uring_query_opcode", "", unsafe.Sizeof(ops), map[string]uintptr{
			"nr_request_opcodes": unsafe.Offsetof(ops.requestOps), "nr_register_opcodes": unsafe.Offsetof(ops.registerOps),
			"feature_flags": unsafe.Offsetof(ops.features), "ring_setup_flags": unsafe.Offsetof(ops.setup),
			"enter_flags": unsafe.Offsetof(ops.enterFlags), "sqe_flags": unsafe.Offsetof(ops.sqeFlags),
			"nr_query_opcodes": unsafe.Offsetof(ops.queryOps),
		}},
		{"io_uring_query_zcrx", "", unsafe.Sizeof(zq), map[string]uintptr{
			"register_flags": unsafe.Offsetof(zq.registerFlags), "area_flags": unsafe.Offsetof(zq.areaFlags),
			"nr_ctrl_opcodes": unsafe.Offsetof(zq.ctrlOps), "features": unsafe.Offsetof(zq.features),
			"rq_hdr_size": unsafe.Offsetof(zq.rqHeader), "rq_hdr_alignment": unsafe.Offsetof(zq.rqAlign),
			"__resv2": unsafe.Offsetof(zq.resv),
		}},
		{"io_uring_query_zcrx_event", "", unsafe.Sizeof(eq), map[string]uintptr{
			"event_flags": unsafe.Offsetof(eq.eventFlags), "stats_size": unsafe.Offsetof(eq.statsSize),
			"stats_off_alignment": unsafe.Offsetof(eq.statsAlign), "__resv1": unsafe.Offsetof(eq.resv1),
			"__resv2": unsafe.Offsetof(eq.resv2),
		}},
		{"zcrx_stats", "", zcrxStatsSize, map[string]uintptr{
			"copy_count": unsafe.Offsetof(stats.copyCount), "copy_bytes": unsafe.Offsetof(stats.copyBytes),
		}},
	}
}

// zcrxLayoutValues are the sizes and offsets for TestAgainstKernelHeader.
func zcrxLayoutValues() []cValue {
	values := []cValue{
		{"1 << ZCRX_EVENT_ALLOC_FAIL", "ZCRX_EVENT_ALLOC_FAIL", uint64(ZCRXAllocFailed)},
		{"1 << ZCRX_EVENT_COPY", "ZCRX_EVENT_COPY", uint64(ZCRXCopied)},
		{"__ZCRX_EVENT_TYPE_LAST", "__ZCRX_EVENT_TYPE_LAST", uint64(len(zcrxEventNames))},
		{"__ZCRX_CTRL_LAST", "ZCRX_CTRL_ADD_AREA", uint64(len(controlNames))},
	}
	for _, s := range zcrxStructs() {
		known := s.known
		if known == "" {
			known = s.name
		}
		values = append(values, cValue{"sizeof(struct " + s.name + ")", known, uint64(s.size)})
		for field, at := range s.fields {
			values = append(values, cValue{"offsetof(struct " + s.name + ", " + field + ")", known, uint64(at)})
		}
	}
	return values
}

// TestZCRXLayout is the check that needs no header: the sizes that the kernel's ABI fixes.
func TestZCRXLayout(t *testing.T) {
	want := map[string]uintptr{
		"io_uring_zcrx_offsets": 32, "io_uring_zcrx_ifq_reg": 96, "io_uring_zcrx_area_reg": 48, "io_uring_region_desc": 64,
		"zcrx_event_desc": 96, "io_uring_zcrx_rqe": 16, "io_uring_zcrx_cqe": 16, "zcrx_ctrl": 72, "io_uring_query_hdr": 40,
		"io_uring_query_opcode": 48, "io_uring_query_zcrx": 40, "io_uring_query_zcrx_event": 48, "zcrx_stats": 16,
	}
	for _, s := range zcrxStructs() {
		if s.size != want[s.name] {
			t.Errorf("%s is %d, want %d", s.name, s.size, want[s.name])
		}
		delete(want, s.name)
	}
	if len(want) > 0 {
		t.Errorf("not checked: %v", want)
	}
	for name, got := range map[string]uintptr{"RefillEntry": unsafe.Sizeof(RefillEntry{}) - refillEntrySize, "zcrxStats": unsafe.Sizeof(zcrxStats{}) - zcrxStatsSize} {
		if got != 0 {
			t.Errorf("%s is %d larger than its constant", name, int(got))
		}
	}
}
