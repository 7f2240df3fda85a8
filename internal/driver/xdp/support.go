//go:build linux

package xdp

import (
	"encoding/binary"
	"syscall"
)

// Of the netdev family, besides what release.go has (linux/netdev.h).
const (
	netdevDevGet     = 1
	netdevIfindex    = 1
	netdevFeatures   = 3      // u64, a bit mask
	netdevZCSegments = 4      // u32
	featureZeroCopy  = 1 << 3 // NETDEV_XDP_ACT_XSK_ZEROCOPY
)

// support is what an interface's driver says of zero-copy AF_XDP (netdev dev-get).
type support struct {
	known    bool // it, and the kernel, say anything
	zeroCopy bool
	segments int // buffers that a frame may take in zero-copy mode; 0: not said
}

// support asks for what the driver of an interface can do. It is not known before
// Linux 6.3, nor are the segments before 6.6.
func (w *releaseWatch) support(index int) (s support) {
	if w.family == 0 {
		return s
	}
	body := appendAttr32([]byte{netdevDevGet, 1, 0, 0}, netdevIfindex, uint32(index))
	var answer support
	err := w.ask(w.family, body, func(m *syscall.NetlinkMessage) { answer.parse(generic(m)) })
	if err != nil {
		return s
	}
	return answer
}

// parse takes in the attributes of a device.
func (s *support) parse(b []byte) {
	eachAttr(b, func(typ uint16, v []byte) {
		switch {
		case typ == netdevFeatures && len(v) == 8:
			s.known = true
			s.zeroCopy = binary.NativeEndian.Uint64(v)&featureZeroCopy != 0
		case typ == netdevZCSegments && len(v) == 4:
			s.segments = int(binary.NativeEndian.Uint32(v))
		}
	})
}
