//go:build linux

package gvnic

// Bits of an interrupt's doorbell (gve_dqo.h). The rest, an interval for
// moderation, is ignored: the model signals at once.
const (
	itrEnable       = 1 << 0
	itrClearPending = 1 << 1
)

// An irq is the state of one notification block. A signal masks it, and only
// the driver's doorbell arms it again; what happens in between is remembered
// once, as the pending bit of MSI-X does (gve_main.c, gve_napi_poll_dqo).
type irq struct{ armed, pending bool }

// irqDoorbell arms or masks the interrupt of notification block i.
func (d *Device) irqDoorbell(i int, v uint32) bool {
	if i >= d.res.blocks {
		return false
	}
	r := &d.irqs[i]
	if v&itrClearPending != 0 {
		r.pending = false
	}
	r.armed = v&itrEnable != 0
	if r.armed && r.pending {
		d.notify(i)
	}
	return true
}

// notify signals the interrupt of notification block i.
func (d *Device) notify(i int) {
	r := &d.irqs[i]
	if !r.armed {
		r.pending = true
		d.stats.Held++
		return
	}
	*r = irq{}
	d.stats.Interrupts++
	d.bus.Interrupt(d.res.firstVector + i)
}

// notifyManagement signals the interrupt that has the driver read the device
// status. It is never masked.
func (d *Device) notifyManagement() {
	if d.bus == nil || d.res.blocks == 0 {
		return
	}
	d.stats.Interrupts++
	d.stats.Management++
	v := 0
	if d.res.firstVector == 0 {
		v = d.res.blocks
	}
	d.bus.Interrupt(v)
}
