package zctap

import (
	"fmt"
	"strings"

	"github.com/zctap/zctap/internal/nic"
)

// nativeHint says what of an interface's settings a driver may mind when it refuses an
// XDP program, each with the command that changes it: the kernel's error alone names
// none. Which ones a driver minds is its own affair (gve: all of these). Empty if there
// is nothing.
func nativeHint(s *nic.State, mtu int) string {
	var all []string
	add := func(what, command string, args ...any) {
		all = append(all, fmt.Sprintf("%s (`%s`)", what, fmt.Sprintf(command, args...)))
	}
	if s.Rings != nil && s.Rings.DataSplit == nic.SplitOn {
		add("header/data split is on", "ethtool -G %s tcp-data-split off", s.Interface)
	}
	if s.Features[nic.FeatureHWGRO].Active {
		add("hardware GRO is on", "ethtool -K %s rx-gro-hw off", s.Interface)
	}
	if s.Features[nic.FeatureLRO].Active {
		add("LRO is on", "ethtool -K %s lro off", s.Interface)
	}
	if s.Rings != nil && s.Rings.RXBufLen > 2048 {
		add(fmt.Sprintf("receive buffers are of %d bytes", s.Rings.RXBufLen), "ethtool -G %s rx-buf-len 2048", s.Interface)
	}
	if c := s.Channels; c != nil {
		switch {
		case c.TX > 0 && c.TX != c.RX || c.TX > 1 && 2*c.TX > c.TXMax:
			n := max(1, min(c.RX, c.TXMax/2))
			add("there is no transmit queue to spare for each receive queue", "ethtool -L %s rx %d tx %d", s.Interface, n, n)
		case c.Combined > 1 && 2*c.Combined > c.CombinedMax:
			add("there is no queue to spare for each queue", "ethtool -L %s combined %d", s.Interface, c.CombinedMax/2)
		}
	}
	if mtu > 1500 {
		add(fmt.Sprintf("the MTU is %d", mtu), "ip link set dev %s mtu 1500", s.Interface)
	}
	if len(all) == 0 {
		return ""
	}
	return "; drivers may mind that " + strings.Join(all, ", or that ")
}
