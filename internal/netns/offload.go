//go:build linux

package netns

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// An Offload is work that the kernel leaves to the network device, as far as
// it can, and that a virtual one leaves undone: over a veth pair with
// everything on, a peer sees segments of up to 64 KiB whose checksums were
// never filled in.
type Offload int

const (
	// TxChecksum is the filling in of TCP and UDP checksums. The kernel
	// switches TSO off with it.
	TxChecksum Offload = iota
	// TSO is the cutting of large TCP segments into packets of MTU size.
	TSO
	// GSO is the same done in software, just before the device.
	GSO
	// GRO is the coalescing of received segments, on the receiving side.
	GRO
)

// offloads gives the name, as ethtool(8) has it, and the commands of each.
var offloads = [...]struct {
	name     string
	get, set uint32
}{
	TxChecksum: {"tx-checksumming", unix.ETHTOOL_GTXCSUM, unix.ETHTOOL_STXCSUM},
	TSO:        {"tcp-segmentation-offload", unix.ETHTOOL_GTSO, unix.ETHTOOL_STSO},
	GSO:        {"generic-segmentation-offload", unix.ETHTOOL_GGSO, unix.ETHTOOL_SGSO},
	GRO:        {"generic-receive-offload", unix.ETHTOOL_GGRO, unix.ETHTOOL_SGRO},
}

// String returns the name of the offload as ethtool(8) has it.
func (o Offload) String() string {
	if o < 0 || int(o) >= len(offloads) {
		return fmt.Sprintf("Offload(%d)", int(o))
	}
	return offloads[o].name
}

// SetOffload switches an offload of a link on or off, and fails if the device
// does not take it.
func (n *NS) SetOffload(link string, o Offload, on bool) error {
	var want uint32
	if on {
		want = 1
	}
	err := n.Do(func() error {
		_, err := ethtoolValue(link, offloads[o].set, want)
		if err != nil {
			return err
		}
		got, err := ethtoolValue(link, offloads[o].get, 0)
		if err == nil && got != want {
			// What a device cannot do, or must do, the kernel leaves as it is
			// without an error.
			err = fmt.Errorf("the device left it at %d: %w", got, unix.EOPNOTSUPP)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("netns: link %s: setting %v to %v: %w", link, o, on, err)
	}
	return nil
}

// Offload reports whether an offload of a link is on.
func (n *NS) Offload(link string, o Offload) (on bool, err error) {
	err = n.Do(func() error {
		v, err := ethtoolValue(link, offloads[o].get, 0)
		on = v != 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("netns: link %s: reading %v: %w", link, o, err)
	}
	return on, nil
}
