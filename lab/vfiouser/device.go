//go:build linux

package vfiouser

// A Device is the model of one PCI device.
//
// The server calls its methods one at a time, holding the Bus's lock. A device
// that acts by itself (a frame arrives, a timer fires) takes that lock first.
// Everything that methods are given comes from the guest or the client, and is
// to be taken for hostile: a method returns an error for what the device can't
// do, and the server tells the client; it does not panic.
type Device interface {
	// Info describes the device. It is called once, before everything else, and
	// the result does not change.
	Info() Info

	// Attach gives the device its way to the guest. It is called once for each
	// client, before any access; Reset follows.
	Attach(bus *Bus)

	// Detach takes it back: the client is gone, and guest memory with it. Bus's
	// methods fail from now on. It must not wait for a goroutine that may be in
	// Bus.Do, which needs the lock that Detach is called with.
	Detach()

	// ReadBAR and WriteBAR access the registers of one base address region.
	// off+len(p) is within the region's size. p is valid during the call.
	ReadBAR(bar int, off uint64, p []byte) error
	WriteBAR(bar int, off uint64, p []byte) error

	// Reset returns the device to the state after power on; the Bus stays.
	Reset()
}

// Info is what a device is to the PCI bus.
type Info struct {
	Vendor, Device                   uint16
	SubsystemVendor, SubsystemDevice uint16
	Revision                         uint8
	Class                            uint32    // 24 bits: class, subclass, interface
	BARs                             [6]uint64 // sizes in bytes, powers of two or 0 for none; 32-bit memory
	// MSI-X: number of vectors, and where in which BAR the table and the
	// pending bits are. The client emulates both; the device only signals. An
	// access to them does not reach ReadBAR or WriteBAR.
	Vectors             int
	TableBAR, PBABAR    int
	TableOffset, PBAOff uint32
}
