//go:build linux

package gvnic

// Options of the device description: ids (gve_dev_opt_id), and the features
// (gve_sup_feature_mask) that each gives a meaning.
const (
	optionDQORDA      = 0x4
	optionModifyRing  = 0x6
	optionJumbo       = 0x8
	optionBufferSizes = 0xa
	optionFlows       = 0xb
	optionRSS         = 0xe

	featureModifyRing  = 1 << 0
	featureJumbo       = 1 << 2
	featureBufferSizes = 1 << 4
	featureFlows       = 1 << 5
	featureRSS         = 1 << 7
)

// Sizes in bytes of struct gve_device_descriptor and struct gve_driver_info.
const (
	descriptorSize = 40
	driverInfoSize = 304
)

const (
	descriptorVersion = 1
	capabilityDQORDA  = 1 << 3 // gve_driver_capability_dqo_rda
	eventCounters     = 128    // the driver makes an array of so many; DQO has no use for it
)

// verifyDriver refuses a driver that can't use the queue format that this
// device has (struct gve_adminq_verify_driver_compatibility).
func (d *Device) verifyDriver(c []byte) error {
	b, err := d.place(be.Uint64(c[8:]), be.Uint64(c), driverInfoSize)
	if err != nil {
		return err
	}
	if flags := be.Uint64(b[16:]); flags&capabilityDQORDA == 0 {
		return refuse(failedPrecondition, "the driver can't use queue format DQO-RDA: capabilities %#x", flags)
	}
	return nil
}

// describe writes the device's description: a fixed part, then the options
// (struct gve_adminq_describe_device).
func (d *Device) describe(c []byte) error {
	addr, version, available := be.Uint64(c), be.Uint32(c[8:]), be.Uint32(c[12:])
	if version != descriptorVersion {
		return refuse(invalidArgument, "device descriptor version %d, not %d", version, descriptorVersion)
	}
	desc := d.descriptor()
	b, err := d.place(addr, uint64(available), len(desc))
	if err != nil {
		return err
	}
	copy(b, desc)
	return nil
}

// descriptor is struct gve_device_descriptor and the options.
func (d *Device) descriptor() []byte {
	cfg := &d.config
	b := make([]byte, descriptorSize)
	be.PutUint64(b[0:], 1<<20) // registered pages, of other queue formats
	be.PutUint16(b[10:], uint16(cfg.Ring))
	be.PutUint16(b[12:], uint16(cfg.Ring))
	be.PutUint16(b[14:], uint16(cfg.Queues))
	be.PutUint16(b[16:], uint16(cfg.MTU))
	be.PutUint16(b[18:], eventCounters)
	copy(b[24:], cfg.MAC[:])

	options := uint16(0)
	option := func(id uint16, feature uint32, fields ...uint16) {
		options++
		b = be.AppendUint16(b, id)
		b = be.AppendUint16(b, uint16(4+2*len(fields)))
		b = be.AppendUint32(b, 0) // no feature that the driver must have
		b = be.AppendUint32(b, feature)
		for _, f := range fields {
			b = be.AppendUint16(b, f)
		}
	}
	// The mask of the queue format's option is what all others count by.
	features := uint32(featureJumbo | featureBufferSizes | featureModifyRing)
	if cfg.FlowRules > 0 {
		features |= featureFlows
	}
	if cfg.RSSOption {
		features |= featureRSS
	}
	option(optionDQORDA, features, 0, 0)
	option(optionJumbo, featureJumbo, uint16(cfg.MTU), 0)
	option(optionBufferSizes, featureBufferSizes, uint16(cfg.BufferSize), uint16(d.headerBuffer()))
	option(optionModifyRing, featureModifyRing,
		uint16(cfg.MaxRing), uint16(cfg.MaxRing), uint16(cfg.MinRing), uint16(cfg.MinRing))
	if cfg.FlowRules > 0 {
		option(optionFlows, featureFlows, 0, 0, uint16(cfg.FlowRules>>16), uint16(cfg.FlowRules))
	}
	if cfg.RSSOption {
		option(optionRSS, featureRSS, rssKeySize, rssTableSize)
	}
	be.PutUint16(b[30:], options)
	be.PutUint16(b[32:], uint16(len(b)))
	return b
}

// headerBuffer is the size of header buffers, 0 if there are none.
func (d *Device) headerBuffer() int {
	if d.config.NoSplit {
		return 0
	}
	return headerBuffer
}
