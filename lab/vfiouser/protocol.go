//go:build linux

package vfiouser

import "encoding/binary"

// All fields are in the host's byte order (vfio-user specification, "Protocol
// Specification"); what is PCI's is little-endian.
var (
	ne = binary.NativeEndian
	le = binary.LittleEndian
)

// Commands, VFIO_USER_*.
const (
	cmdVersion          = 1  // VERSION
	cmdDMAMap           = 2  // DMA_MAP
	cmdDMAUnmap         = 3  // DMA_UNMAP
	cmdGetInfo          = 4  // DEVICE_GET_INFO
	cmdGetRegionInfo    = 5  // DEVICE_GET_REGION_INFO
	cmdGetRegionIOFDs   = 6  // DEVICE_GET_REGION_IO_FDS
	cmdGetIRQInfo       = 7  // DEVICE_GET_IRQ_INFO
	cmdSetIRQs          = 8  // DEVICE_SET_IRQS
	cmdRegionRead       = 9  // REGION_READ
	cmdRegionWrite      = 10 // REGION_WRITE
	cmdReset            = 13 // DEVICE_RESET
	cmdRegionWriteMulti = 15 // REGION_WRITE_MULTI
)

// The header of a message: id u16, command u16, size u32 with the header,
// flags u32, error u32.
const (
	headerLen = 16

	typeMask    = 0xf
	typeCommand = 0
	typeReply   = 1
	flagNoReply = 1 << 4
	flagError   = 1 << 5
)

// Limits, told to the client in the version reply.
const (
	// maxFDs is how many descriptors a message may have: max_msg_fds. QEMU
	// refuses a server that says more.
	maxFDs = 16
	// maxTransfer is max_data_xfer_size: how many bytes one REGION_READ or
	// REGION_WRITE may be for. It is the specification's default.
	maxTransfer = 1 << 20
	// maxMessage bounds the size of a message, that of the largest write.
	maxMessage = headerLen + accessLen + maxTransfer
)

// Lengths of message bodies, or of what they begin with.
const (
	versionLen    = 4  // without the version data
	dmaMapLen     = 32 // struct vfio_iommu_type1_dma_map
	dmaUnmapLen   = 24
	deviceInfoLen = 16 // struct vfio_device_info
	regionInfoLen = 32 // struct vfio_region_info
	ioFDsLen      = 16
	irqInfoLen    = 16 // struct vfio_irq_info
	irqSetLen     = 20 // struct vfio_irq_set, without the data
	accessLen     = 16 // of REGION_READ and REGION_WRITE, without the data
	multiLen      = 24 // of one write of REGION_WRITE_MULTI
	multiData     = 8  // bytes that one can write
)

// Regions and interrupt types of a PCI device: VFIO_PCI_*_REGION_INDEX and
// VFIO_PCI_*_IRQ_INDEX of linux/vfio.h.
const (
	numBARs      = 6 // regions 0 to 5
	regionConfig = 7
	numRegions   = 9 // with ROM (6) and VGA (8), which no device here has

	irqMSIX = 2
	irqERR  = 3
	numIRQs = 5 // with INTx (0), MSI (1) and REQ (4), which none has
)

// Flags.
const (
	dmaMapRead  = 1 << 0 // VFIO_DMA_MAP_FLAG_READ
	dmaMapWrite = 1 << 1 // VFIO_DMA_MAP_FLAG_WRITE
	dmaUnmapAll = 1 << 1 // VFIO_DMA_UNMAP_FLAG_ALL

	deviceReset = 1 << 0 // VFIO_DEVICE_FLAGS_RESET
	devicePCI   = 1 << 1 // VFIO_DEVICE_FLAGS_PCI

	regionRead  = 1 << 0 // VFIO_REGION_INFO_FLAG_READ
	regionWrite = 1 << 1 // VFIO_REGION_INFO_FLAG_WRITE

	irqEventfd  = 1 << 0 // VFIO_IRQ_INFO_EVENTFD
	irqMaskable = 1 << 1 // VFIO_IRQ_INFO_MASKABLE

	irqDataNone    = 1 << 0 // VFIO_IRQ_SET_DATA_NONE
	irqDataBool    = 1 << 1 // VFIO_IRQ_SET_DATA_BOOL
	irqDataEventfd = 1 << 2 // VFIO_IRQ_SET_DATA_EVENTFD
	irqData        = irqDataNone | irqDataBool | irqDataEventfd
	irqMask        = 1 << 3 // VFIO_IRQ_SET_ACTION_MASK
	irqUnmask      = 1 << 4 // VFIO_IRQ_SET_ACTION_UNMASK
	irqTrigger     = 1 << 5 // VFIO_IRQ_SET_ACTION_TRIGGER
	irqAction      = irqMask | irqUnmask | irqTrigger
)
