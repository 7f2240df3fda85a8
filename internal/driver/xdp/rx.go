//go:build linux

package xdp

import (
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// An rxRing is how received frames come (XDP_RX_RING). We consume.
type rxRing struct {
	*shring.Consumer
	descs []unix.XDPDesc // written by the kernel
}

// at is entry i, one that Peek returned. A copy: what was checked can't change.
func (r *rxRing) at(i uint32) unix.XDPDesc { return r.descs[i&r.Mask()] }

// continued reports whether a frame goes on in the descriptor after d
// (XDP_USE_SG).
func continued(d *unix.XDPDesc) bool { return d.Options&unix.XDP_PKT_CONTD != 0 }
