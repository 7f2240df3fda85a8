//go:build linux

package vfiousertest

// The commands that a client sends (vfio-user specification, "Commands").
const (
	CmdVersion          = 1  // VFIO_USER_VERSION
	CmdDMAMap           = 2  // VFIO_USER_DMA_MAP
	CmdDMAUnmap         = 3  // VFIO_USER_DMA_UNMAP
	CmdGetInfo          = 4  // VFIO_USER_DEVICE_GET_INFO
	CmdGetRegionInfo    = 5  // VFIO_USER_DEVICE_GET_REGION_INFO
	CmdGetRegionIOFDs   = 6  // VFIO_USER_DEVICE_GET_REGION_IO_FDS
	CmdGetIRQInfo       = 7  // VFIO_USER_DEVICE_GET_IRQ_INFO
	CmdSetIRQs          = 8  // VFIO_USER_DEVICE_SET_IRQS
	CmdRegionRead       = 9  // VFIO_USER_REGION_READ
	CmdRegionWrite      = 10 // VFIO_USER_REGION_WRITE
	CmdReset            = 13 // VFIO_USER_DEVICE_RESET
	CmdDirtyPages       = 14 // VFIO_USER_DIRTY_PAGES
	CmdRegionWriteMulti = 15 // VFIO_USER_REGION_WRITE_MULTI
)

// Regions of a PCI device, after VFIO's VFIO_PCI_*_REGION_INDEX.
const (
	BAR0 = iota
	BAR1
	BAR2
	BAR3
	BAR4
	BAR5
	ROM
	Config // the configuration space
	VGA
)

// Interrupt types of a PCI device, after VFIO's VFIO_PCI_*_IRQ_INDEX.
const (
	INTx = iota
	MSI
	MSIX
	ERR
	REQ
)

// Flags of CmdSetIRQs, VFIO_IRQ_SET_*.
const (
	DataNone      = 1 << 0
	DataBool      = 1 << 1
	DataEventfd   = 1 << 2
	ActionMask    = 1 << 3
	ActionUnmask  = 1 << 4
	ActionTrigger = 1 << 5
)

// Flags of CmdDMAMap, VFIO_DMA_MAP_FLAG_*.
const (
	MapRead  = 1 << 0
	MapWrite = 1 << 1
)

// UnmapAll is VFIO_DMA_UNMAP_FLAG_ALL of CmdDMAUnmap.
const UnmapAll = 1 << 1

// The header of every message: id, command, size, flags, error.
const (
	headerLen = 16

	flagReply = 1
	// FlagNoReply in a command says that no reply is wanted.
	FlagNoReply = 1 << 4
	flagError   = 1 << 5
)
