//go:build linux

package vfiouser

// Offsets in the configuration space (PCI Local Bus Specification 3.0, section
// 6.1, and PCI_* of linux/pci_regs.h).
const (
	configLen = 256 // bytes: conventional PCI, without the extended space

	cfgVendor       = 0x00
	cfgDevice       = 0x02
	cfgCommand      = 0x04
	cfgStatus       = 0x06
	cfgRevision     = 0x08
	cfgClass        = 0x09 // 3 bytes
	cfgCacheLine    = 0x0c
	cfgBAR          = 0x10
	cfgSubVendor    = 0x2c
	cfgSubDevice    = 0x2e
	cfgCapabilities = 0x34
	cfgLine         = 0x3c // interrupt line, a note of the firmware's

	// The MSI-X capability, right after the header.
	cfgMSIX      = 0x40
	msixControl  = cfgMSIX + 2
	msixTableReg = cfgMSIX + 4 // offset, and in the low 3 bits the BAR
	msixPBAReg   = cfgMSIX + 8

	capMSIX = 0x11
)

const (
	statusCapabilities = 1 << 4 // there is a list of them

	// What can be set in the command register: memory space, bus master, parity
	// error response, SERR, INTx disable. No device here has I/O space.
	commandWritable = 1<<1 | 1<<2 | 1<<6 | 1<<8 | 1<<10

	msixWritable = 1<<15 | 1<<14 // enable, function mask
)

// A configSpace is a device's configuration space. The client emulates the
// effects: here it is memory, of which some bits can be written.
type configSpace struct {
	bytes    [configLen]byte
	initial  [configLen]byte
	writable [configLen]byte // a bit of 1 can be written
}

func newConfigSpace(info *Info) *configSpace {
	c := new(configSpace)
	b, w := c.initial[:], c.writable[:]
	le.PutUint16(b[cfgVendor:], info.Vendor)
	le.PutUint16(b[cfgDevice:], info.Device)
	le.PutUint16(w[cfgCommand:], commandWritable)
	b[cfgRevision] = info.Revision
	b[cfgClass], b[cfgClass+1], b[cfgClass+2] = byte(info.Class), byte(info.Class>>8), byte(info.Class>>16)
	w[cfgCacheLine] = 0xff
	for i, size := range info.BARs {
		if size != 0 {
			// 32-bit memory, not prefetchable: the low bits are 0. Software
			// writes ones and sees in those that stay 0 how large it is.
			le.PutUint32(w[cfgBAR+4*i:], ^uint32(size-1))
		}
	}
	le.PutUint16(b[cfgSubVendor:], info.SubsystemVendor)
	le.PutUint16(b[cfgSubDevice:], info.SubsystemDevice)
	w[cfgLine] = 0xff
	if info.Vectors > 0 {
		le.PutUint16(b[cfgStatus:], statusCapabilities)
		b[cfgCapabilities] = cfgMSIX
		b[cfgMSIX] = capMSIX // and at the next byte 0: the list ends
		le.PutUint16(b[msixControl:], uint16(info.Vectors-1))
		le.PutUint16(w[msixControl:], msixWritable)
		le.PutUint32(b[msixTableReg:], info.TableOffset|uint32(info.TableBAR))
		le.PutUint32(b[msixPBAReg:], info.PBAOff|uint32(info.PBABAR))
	}
	c.reset()
	return c
}

func (c *configSpace) reset() { c.bytes = c.initial }

// read and write access len(p) bytes at off, which are inside the space.
func (c *configSpace) read(off uint64, p []byte) { copy(p, c.bytes[off:]) }

func (c *configSpace) write(off uint64, p []byte) {
	for i, v := range p {
		w := c.writable[off+uint64(i)]
		b := &c.bytes[off+uint64(i)]
		*b = *b&^w | v&w
	}
}
