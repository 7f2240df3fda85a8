//go:build linux

package xdp

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestZeroCopyHint: an MTU that is too large for the mode is named as the cause if it
// is one, with the MTU to set; a driver that has no zero-copy is, whatever the MTU.
func TestZeroCopyHint(t *testing.T) {
	features := func(bits uint64, segments uint32) (s support) {
		b := appendAttr32(nil, netdevIfindex, 1)
		b = appendAttr(b, netdevFeatures, binary.NativeEndian.AppendUint64(nil, bits))
		if segments > 0 {
			b = appendAttr32(b, netdevZCSegments, segments)
		}
		s.parse(b)
		return s
	}
	const copies, zero = 1<<0 | 1<<1, featureZeroCopy // NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_REDIRECT
	for _, tt := range []struct {
		name string
		can  support
		mtu  int
		says []string
		not  string
	}{
		{"too large for one buffer", features(copies|zero, 1), 9000, []string{"MTU of 9000", "3 buffers", "does 1", "ip link set dev eth5 mtu 3822", "mode copy"}, ""},
		{"too large for two", features(copies|zero, 2), 9000, []string{"MTU of 9000", "3 buffers", "does 2", "ip link set dev eth5 mtu 7662"}, ""},
		{"for another reason", features(copies|zero, 3), 9000, []string{"as the interface is set", "MTU 9000"}, "too large"},
		{"no zero-copy", features(copies, 0), 9000, []string{"does not do zero-copy", "mode copy"}, "MTU"},
		{"no zero-copy, MTU 1500", features(copies, 0), 1500, []string{"does not do zero-copy", "mode copy"}, "MTU"},
		{"a kernel that does not tell", support{}, 9000, []string{"does not do zero-copy", "MTU 9000", "mtu 3822"}, ""},
		{"and MTU 1500", support{}, 1500, []string{"does not do zero-copy"}, "MTU"},
	} {
		got := bindHint(unix.EOPNOTSUPP, ZeroCopy, &link{name: "eth5", mtu: tt.mtu}, tt.can, 4096-kernelHeadroom, 1)
		for _, text := range tt.says {
			if !strings.Contains(got, text) {
				t.Errorf("%s: %q does not say %q", tt.name, got, text)
			}
		}
		if tt.not != "" && strings.Contains(got, tt.not) {
			t.Errorf("%s: %q says %q", tt.name, got, tt.not)
		}
	}
}

// TestBufferHint: a driver that does zero-copy, and finds the buffers too small for what
// its NIC could do, is not taken for an interface without the queue.
func TestBufferHint(t *testing.T) {
	l := &link{name: "eth5", mtu: 1500}
	can := support{known: true, zeroCopy: true, segments: 1}
	for _, tt := range []struct {
		name string
		m    Mode
		can  support
		says bool
	}{
		{"zero-copy", ZeroCopy, can, true},
		{"copy", Copy, can, false},
		{"a driver without", ZeroCopy, support{known: true}, false},
	} {
		got := bindHint(unix.EINVAL, tt.m, l, tt.can, 4096-kernelHeadroom, 1)
		if strings.Contains(got, "maxmtu of `ip -d link show dev eth5`") != tt.says || !strings.Contains(got, "no such queue") {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestSupportOfOddLengths: what is not as it should be tells nothing.
func TestSupportOfOddLengths(t *testing.T) {
	var s support
	s.parse(appendAttr(appendAttr32(nil, netdevFeatures, 0xffffffff), netdevZCSegments, []byte{1}))
	if s != (support{}) {
		t.Errorf("%+v", s)
	}
}
