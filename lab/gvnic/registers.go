//go:build linux

package gvnic

import "time"

// Registers of BAR 0 (gve_register.h, struct gve_registers), byte offsets.
const (
	regDeviceStatus  = 0x00
	regDriverStatus  = 0x04
	regMaxTxQueues   = 0x08
	regMaxRxQueues   = 0x0c
	regAdminDoorbell = 0x14
	regAdminCounter  = 0x18
	regDriverVersion = 0x1f // one byte, to which the driver writes a string
	regAdminBaseHigh = 0x20
	regAdminBaseLow  = 0x24
	regAdminLength   = 0x28 // 16 bits
	regEnd           = 0x2a
)

// Bits of the device status.
const (
	statusWantReset = 1 << 1
	statusLinkUp    = 1 << 2
	statusIsReset   = 1 << 4
)

// Bits of the driver status.
const (
	driverRun   = 1 << 0
	driverReset = 1 << 1
)

// The base address regions.
const (
	barRegisters = 0
	barDoorbells = 2
)

// ReadBAR reads registers. Doorbells read as zeros, as does all that is not
// there.
func (d *Device) ReadBAR(bar int, off uint64, p []byte) error {
	clear(p)
	if bar != barRegisters || off >= regEnd {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var r [regEnd]byte
	be.PutUint32(r[regDeviceStatus:], d.deviceStatus())
	be.PutUint32(r[regMaxTxQueues:], uint32(d.config.Queues))
	be.PutUint32(r[regMaxRxQueues:], uint32(d.config.Queues))
	be.PutUint32(r[regAdminCounter:], d.admin.counter)
	be.PutUint64(r[regAdminBaseHigh:], d.admin.base)
	be.PutUint16(r[regAdminLength:], d.admin.length)
	copy(p, r[off:])
	return nil
}

func (d *Device) deviceStatus() (s uint32) {
	if d.linkUp(time.Now()) {
		s |= statusLinkUp
	}
	if d.wantReset {
		s |= statusWantReset
	}
	if d.isReset {
		s |= statusIsReset
	}
	return s
}

// WriteBAR writes a register or a doorbell. What can't be written so is counted
// and otherwise ignored, as hardware does.
func (d *Device) WriteBAR(bar int, off uint64, p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch bar {
	case barRegisters:
		if !d.writeRegister(off, p) {
			d.stats.BadRegisters++
		}
	case barDoorbells:
		d.stats.Doorbells++
		if off%4 != 0 || len(p) != 4 || !d.doorbell(int(off/4), le.Uint32(p)) {
			d.stats.BadDoorbells++
		}
	}
	return nil
}

func (d *Device) writeRegister(off uint64, p []byte) bool {
	switch {
	case off == regDriverVersion && len(p) == 1:
		return true
	case off == regAdminLength && len(p) == 2:
		d.admin.length = be.Uint16(p)
		return true
	case len(p) != 4:
		return false
	}
	v := be.Uint32(p)
	switch off {
	case regDriverStatus:
		d.driverStatus(v)
	case regAdminDoorbell:
		d.adminDoorbell(v)
	case regAdminBaseHigh:
		d.admin.base = uint64(v)<<32 | d.admin.base&0xffffffff
	case regAdminBaseLow:
		d.admin.base = d.admin.base&^0xffffffff | uint64(v)
	default:
		return false
	}
	return true
}

// driverStatus is how the driver starts and resets the device; it waits for
// statusIsReset after the latter.
func (d *Device) driverStatus(v uint32) {
	if v&driverReset != 0 {
		d.stats.DriverResets++
		d.reset()
		d.isReset = true
		d.wantReset, d.askedReset = false, false
		d.config.Log.Debug("the driver resets the device")
		return
	}
	if v&driverRun != 0 {
		d.isReset = false
	}
}
