//go:build linux

package uring

// The structures of linux/io_uring/zcrx.h, by which a ring takes possession of an interface queue, and the region
// descriptor of linux/io_uring.h that places its refill ring. TestAgainstKernelHeader compares them with the C header.
// The kernel writes most of them back.

// zcrxOffsets is struct io_uring_zcrx_offsets: where in its region the words and entries of the refill ring lie. The
// kernel writes it; the layout differs between versions.
type zcrxOffsets struct {
	head, tail, rqes, resv2 uint32
	resv                    [2]uint64
}

// zcrxIfqReg is struct io_uring_zcrx_ifq_reg, the argument of IORING_REGISTER_ZCRX_IFQ.
type zcrxIfqReg struct {
	ifIdx     uint32 // index of the interface; with zcrxRegImport the descriptor of the exported ifq
	ifRxq     uint32
	rqEntries uint32 // written back
	flags     uint32
	areaPtr   uint64      // address of a zcrxAreaReg
	regionPtr uint64      // address of a regionDesc
	offsets   zcrxOffsets // written by the kernel
	zcrxID    uint32      // written by the kernel; must be 0
	rxBufLen  uint32      // written back by kernels that read it (Linux 7.0)
	eventDesc uint64      // address of a zcrxEventDesc, or 0 (Linux 7.2)
	resv      [2]uint64
}

// Flags of zcrxIfqReg.
const (
	zcrxRegImport = 1 << 0 // ZCRX_REG_IMPORT
	zcrxRegNodev  = 1 << 1 // ZCRX_REG_NODEV
)

// zcrxAreaReg is struct io_uring_zcrx_area_reg: the memory that payload goes to.
type zcrxAreaReg struct {
	addr, size uint64
	token      uint64 // written by the kernel; must be 0
	flags      uint32
	dmabufFD   uint32
	resv       [2]uint64
}

const zcrxAreaDMABuf = 1 << 0 // IORING_ZCRX_AREA_DMABUF, in zcrxAreaReg.flags

// regionDesc is struct io_uring_region_desc: memory that ring and application share.
type regionDesc struct {
	userAddr   uint64
	size       uint64
	flags      uint32
	id         uint32 // must be 0
	mmapOffset uint64 // written by the kernel where it allocates the memory; must be 0
	resv       [4]uint64
}

const regionTypeUser = 1 << 0 // IORING_MEM_REGION_TYPE_USER: the memory is the application's

// zcrxEventDesc is struct zcrx_event_desc: what the ifq may tell by itself.
type zcrxEventDesc struct {
	userData    uint64
	typeMask    uint32
	flags       uint32
	statsOffset uint64 // from the start of the refill ring's region
	resv        [9]uint64
}

const zcrxEventDescStats = 1 << 0 // ZCRX_EVENT_DESC_FLAG_STATS: statsOffset is valid

// zcrxCtrl is struct zcrx_ctrl, the argument of IORING_REGISTER_ZCRX_CTRL. arg is the union of the operations'
// arguments, 48 bytes.
type zcrxCtrl struct {
	zcrxID uint32
	op     uint32
	resv   [2]uint64
	arg    [6]uint64
}

// Operations of zcrxCtrl (ZCRX_CTRL_*).
const (
	ctrlFlushRQ = iota
	ctrlExport
	ctrlArmEvent
	ctrlAddArea
)

// queryHdr is struct io_uring_query_hdr, the argument of IORING_REGISTER_QUERY.
type queryHdr struct {
	next   uint64
	data   uint64 // address of what the answer is written to
	op     uint32
	size   uint32 // of the room for the answer; written back: how much of it is valid
	result int32  // written by the kernel: 0 or an errno negated
	resv   [3]uint32
}

// Operations of queryHdr (IO_URING_QUERY_*).
const (
	queryOpcodes   = 0
	queryZCRX      = 1
	queryZCRXEvent = 3
)

// queryOpcodesArg is struct io_uring_query_opcode.
type queryOpcodesArg struct {
	requestOps, registerOps               uint32
	features, setup, enterFlags, sqeFlags uint64
	queryOps, pad                         uint32
}

// queryZCRXArg is struct io_uring_query_zcrx.
type queryZCRXArg struct {
	registerFlags, areaFlags uint64
	ctrlOps                  uint32
	features                 uint32
	rqHeader                 uint32
	rqAlign                  uint32
	resv                     uint64
}

// Bits of queryZCRXArg.features (ZCRX_FEATURE_*).
const (
	zcrxFeatBufLen = 1 << 0 // ZCRX_FEATURE_RX_PAGE_SIZE: zcrxIfqReg.rxBufLen is looked at
	zcrxFeatEvent  = 1 << 1 // ZCRX_FEATURE_EVENT
)

// queryZCRXEventArg is struct io_uring_query_zcrx_event.
type queryZCRXEventArg struct {
	eventFlags uint32
	statsSize  uint32
	statsAlign uint32
	resv1      uint32
	resv2      [4]uint64
}

// zcrxStats is struct zcrx_stats. The kernel writes it, with stores of whole words and no lock.
type zcrxStats struct {
	copyCount, copyBytes uint64
}

// Operations of io_uring_register(2) on interface queues.
const (
	registerZCRXIfq  = 32
	registerQuery    = 35
	registerZCRXCtrl = 36
)

// An offset in the completion of a receive, and in a refill entry, carries the area's id from this bit up.
const zcrxAreaShift = 48 // IORING_ZCRX_AREA_SHIFT
