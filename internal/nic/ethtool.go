//go:build linux

package nic

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ethtool carries out a command of the ethtool netlink family for the
// interface, and returns the attributes of the answers.
func (d *kernelDevice) ethtool(what string, cmd uint8, flags uint16, fill func(*attrs)) ([][]attr, error) {
	id, err := d.genl.family(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return nil, err
	}
	var a attrs
	// The header is the first attribute of every command: ETHTOOL_A_*_HEADER = 1.
	a.nest(1, func(a *attrs) { a.u32(unix.ETHTOOL_A_HEADER_DEV_INDEX, uint32(d.index)) })
	if fill != nil {
		fill(&a)
	}
	answers, err := d.genl.genl(id, cmd, flags, a)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return answers, nil
}

// one is for commands with one answer.
func (d *kernelDevice) one(what string, cmd uint8) ([]attr, error) {
	answers, err := d.ethtool(what, cmd, 0, nil)
	if err == nil && len(answers) != 1 {
		err = fmt.Errorf("%s: %d answers: %w", what, len(answers), unix.EBADMSG)
	}
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

func (d *kernelDevice) channels() (c Channels, err error) {
	list, err := d.one("ETHTOOL_MSG_CHANNELS_GET", unix.ETHTOOL_MSG_CHANNELS_GET)
	for _, a := range list {
		switch a.typ {
		case unix.ETHTOOL_A_CHANNELS_RX_MAX:
			c.RXMax = a.u32()
		case unix.ETHTOOL_A_CHANNELS_TX_MAX:
			c.TXMax = a.u32()
		case unix.ETHTOOL_A_CHANNELS_COMBINED_MAX:
			c.CombinedMax = a.u32()
		case unix.ETHTOOL_A_CHANNELS_RX_COUNT:
			c.RX = a.u32()
		case unix.ETHTOOL_A_CHANNELS_TX_COUNT:
			c.TX = a.u32()
		case unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT:
			c.Combined = a.u32()
		}
	}
	return c, err
}

// setChannels sets those counts that the driver has.
func (d *kernelDevice) setChannels(c Channels) error {
	now, err := d.channels()
	if err != nil {
		return err
	}
	_, err = d.ethtool("ETHTOOL_MSG_CHANNELS_SET", unix.ETHTOOL_MSG_CHANNELS_SET, 0, func(a *attrs) {
		for _, count := range []struct {
			typ      uint16
			max, set uint32
		}{
			{unix.ETHTOOL_A_CHANNELS_RX_COUNT, now.RXMax, c.RX},
			{unix.ETHTOOL_A_CHANNELS_TX_COUNT, now.TXMax, c.TX},
			{unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, now.CombinedMax, c.Combined},
		} {
			if count.max > 0 {
				a.u32(count.typ, count.set)
			}
		}
	})
	return err
}

func (d *kernelDevice) rings() (r Rings, err error) {
	list, err := d.one("ETHTOOL_MSG_RINGS_GET", unix.ETHTOOL_MSG_RINGS_GET)
	for _, a := range list {
		switch a.typ {
		case unix.ETHTOOL_A_RINGS_RX:
			r.RX = a.u32()
		case unix.ETHTOOL_A_RINGS_RX_BUF_LEN:
			r.RXBufLen = a.u32()
		case unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT:
			r.DataSplit = DataSplit(a.num())
		case unix.ETHTOOL_A_RINGS_HDS_THRESH:
			n := a.u32()
			r.HDSThresh = &n
		case unix.ETHTOOL_A_RINGS_HDS_THRESH_MAX:
			r.HDSThreshMax = a.u32()
		}
	}
	return r, err
}

func (d *kernelDevice) setRings(r Rings) error {
	_, err := d.ethtool("ETHTOOL_MSG_RINGS_SET", unix.ETHTOOL_MSG_RINGS_SET, 0, func(a *attrs) {
		a.u8(unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT, uint8(r.DataSplit))
		if r.HDSThresh != nil {
			a.u32(unix.ETHTOOL_A_RINGS_HDS_THRESH, *r.HDSThresh)
		}
	})
	return err
}

func (d *kernelDevice) features() (map[string]Feature, error) {
	list, err := d.one("ETHTOOL_MSG_FEATURES_GET", unix.ETHTOOL_MSG_FEATURES_GET)
	if err != nil {
		return nil, err
	}
	sets := make(map[uint16]map[string]bool)
	for _, a := range list {
		sets[a.typ] = a.bitset()
	}
	features := make(map[string]Feature)
	for _, set := range sets {
		for name := range set {
			features[name] = Feature{
				Active: sets[unix.ETHTOOL_A_FEATURES_ACTIVE][name],
				Wanted: sets[unix.ETHTOOL_A_FEATURES_WANTED][name],
				Changeable: sets[unix.ETHTOOL_A_FEATURES_HW][name] &&
					!sets[unix.ETHTOOL_A_FEATURES_NOCHANGE][name],
			}
		}
	}
	return features, nil
}

// bitset reads a bit set in its verbose form. The bits that are not listed are
// zero, or none of its business.
func (a attr) bitset() map[string]bool {
	set := make(map[string]bool)
	list := false // a list of the bits that are set, rather than of bits with values
	var bits []attr
	for _, a := range a.nested() {
		switch a.typ {
		case unix.ETHTOOL_A_BITSET_NOMASK:
			list = true
		case unix.ETHTOOL_A_BITSET_BITS:
			bits = a.nested()
		}
	}
	for _, bit := range bits {
		name, on := "", list
		for _, a := range bit.nested() {
			switch a.typ {
			case unix.ETHTOOL_A_BITSET_BIT_NAME:
				name = a.text()
			case unix.ETHTOOL_A_BITSET_BIT_VALUE:
				on = true
			}
		}
		set[name] = on
	}
	return set
}

// setFeature changes what is wanted. The kernel may answer with success and
// leave the feature as it is: that is for the caller to see.
func (d *kernelDevice) setFeature(name string, on bool) error {
	_, err := d.ethtool("ETHTOOL_MSG_FEATURES_SET", unix.ETHTOOL_MSG_FEATURES_SET, 0, func(a *attrs) {
		a.nest(unix.ETHTOOL_A_FEATURES_WANTED, func(a *attrs) {
			a.nest(unix.ETHTOOL_A_BITSET_BITS, func(a *attrs) {
				a.nest(unix.ETHTOOL_A_BITSET_BITS_BIT, func(a *attrs) {
					a.text(unix.ETHTOOL_A_BITSET_BIT_NAME, name)
					if on {
						a.flag(unix.ETHTOOL_A_BITSET_BIT_VALUE)
					}
				})
			})
		})
	})
	return err
}
