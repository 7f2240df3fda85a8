//go:build linux

package xdp

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestLayout: sizes and offsets of what is shared with the kernel, from
// linux/if_xdp.h, linux/ethtool.h and linux/if.h.
func TestLayout(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"struct xdp_desc", unsafe.Sizeof(unix.XDPDesc{}), 16},
		{"xdp_desc.len", unsafe.Offsetof(unix.XDPDesc{}.Len), 8},
		{"xdp_desc.options", unsafe.Offsetof(unix.XDPDesc{}.Options), 12},
		{"struct xdp_umem_reg", unsafe.Sizeof(unix.XDPUmemReg{}), 32},
		{"xdp_umem_reg.chunk_size", unsafe.Offsetof(unix.XDPUmemReg{}.Size), 16},
		{"xdp_umem_reg.headroom", unsafe.Offsetof(unix.XDPUmemReg{}.Headroom), 20},
		{"struct xdp_mmap_offsets", unsafe.Sizeof(unix.XDPMmapOffsets{}), 128},
		{"struct xdp_statistics", unsafe.Sizeof(unix.XDPStatistics{}), 48},
		{"struct ethtool_channels", unsafe.Sizeof(ethtoolChannels{}), 36},
		{"ethtool_channels.rx_count", unsafe.Offsetof(ethtoolChannels{}.rx), 20},
		{"ethtool_channels.combined_count", unsafe.Offsetof(ethtoolChannels{}.combined), 32},
		{"struct ifreq", unsafe.Sizeof(ethtoolRequest{}), 40},
		{"ifreq.ifr_data", unsafe.Offsetof(ethtoolRequest{}.data), 16},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}
