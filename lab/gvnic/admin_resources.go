//go:build linux

package gvnic

// formatDQORDA is the queue format (gve_queue_format).
const formatDQORDA = 3

// maxStride bounds, in bytes, how far apart the driver may want the places for
// interrupt doorbells; it takes a cache line.
const maxStride = 4096

// resources is what CONFIGURE_DEVICE_RESOURCES set up.
type resources struct {
	blocks      int // notification blocks: interrupts but for management's; 0: not set up
	firstVector int // the MSI-X vector of block 0
}

// configure tells the driver where the interrupt doorbells are (struct
// gve_adminq_configure_device_resources). The counters are of other formats.
func (d *Device) configure(c []byte) error {
	counters, addr := be.Uint64(c), be.Uint64(c[8:])
	numCounters, blocks := be.Uint32(c[16:]), be.Uint32(c[20:])
	stride, first, format := be.Uint32(c[24:]), be.Uint32(c[28:]), c[32]
	switch {
	case d.res.blocks != 0:
		return refuse(alreadyExists, "the device's resources are set up already")
	case format != formatDQORDA:
		return refuse(invalidArgument, "queue format %d, not DQO-RDA (%d)", format, formatDQORDA)
	case blocks == 0 || int64(blocks) >= int64(len(d.irqs)):
		return refuse(outOfRange, "%d notification blocks with %d vectors", blocks, len(d.irqs))
	case first > 1:
		return refuse(outOfRange, "first notification vector %d is neither 0 nor 1", first)
	case stride < 4 || stride%4 != 0 || stride > maxStride:
		return refuse(invalidArgument, "stride of %d bytes between doorbell indices", stride)
	case numCounters > eventCounters:
		return refuse(outOfRange, "%d counters, the device has %d", numCounters, eventCounters)
	}
	if err := d.region("counters", counters, int(numCounters)*4, 4); err != nil {
		return err
	}
	if err := d.region("doorbell indices", addr, int(blocks-1)*int(stride)+4, 4); err != nil {
		return err
	}
	for i := range blocks {
		b, err := d.memory(addr+uint64(i*stride), 4)
		if err != nil {
			return err
		}
		be.PutUint32(b, i)
	}
	clear(d.irqs)
	d.res = resources{blocks: int(blocks), firstVector: int(first)}
	return nil
}

// deconfigure is the opposite; the queues must be gone.
func (d *Device) deconfigure() error {
	if d.res.blocks == 0 {
		return refuse(failedPrecondition, "the device's resources are not set up")
	}
	for i := range d.rx {
		if d.rx[i] != nil || d.tx[i] != nil {
			return refuse(failedPrecondition, "there are queues")
		}
	}
	d.res = resources{}
	d.report = report{}
	return nil
}

// ptypeMapSize is the size in bytes of struct gve_ptype_map: 1024 types, each
// two bytes.
const ptypeMapSize = 2048

// ptypeMap tells the driver what the packet types are (struct
// gve_adminq_get_ptype_map).
func (d *Device) ptypeMap(c []byte) error {
	b, err := d.place(be.Uint64(c[8:]), be.Uint64(c), ptypeMapSize)
	if err != nil {
		return err
	}
	clear(b)
	for i, t := range ptypes {
		b[2*i], b[2*i+1] = t[0], t[1]
	}
	return nil
}

// paramMTU is the only parameter there is (GVE_SET_PARAM_MTU).
const paramMTU = 1

// setParameter takes notice of the driver's MTU (struct
// gve_adminq_set_driver_parameter). What the device receives is bounded by its
// own, as a driver need not tell.
func (d *Device) setParameter(c []byte) error {
	if kind := be.Uint32(c); kind != paramMTU {
		return refuse(unimplemented, "unknown parameter %d", kind)
	}
	if mtu := be.Uint64(c[8:]); mtu < 68 || mtu > uint64(d.config.MTU) {
		return refuse(outOfRange, "MTU %d is not from 68 to %d", mtu, d.config.MTU)
	}
	return nil
}

// reportSpeed tells the speed of the link, in Mbit/s (struct
// gve_adminq_report_link_speed).
func (d *Device) reportSpeed(c []byte) error {
	b, err := d.memory(be.Uint64(c), 8)
	if err != nil {
		return err
	}
	be.PutUint64(b, uint64(d.config.LinkSpeed))
	return nil
}
