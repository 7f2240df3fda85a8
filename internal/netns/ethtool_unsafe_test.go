//go:build linux

package netns

import (
	"testing"
	"unsafe"
)

func TestEthtoolLayout(t *testing.T) {
	var (
		arg ethtoolArg
		req ethtoolIfreq
	)
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"sizeof(struct ethtool_value)", unsafe.Sizeof(arg), 8},
		{"offsetof(struct ethtool_value, data)", unsafe.Offsetof(arg.data), 4},
		{"sizeof(struct ifreq)", unsafe.Sizeof(req), 40},
		{"offsetof(struct ifreq, ifr_data)", unsafe.Offsetof(req.data), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.what, c.got, c.want)
		}
	}
}
