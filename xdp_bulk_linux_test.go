package zctap_test

import (
	"fmt"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/pattern"
)

// TestNSXDPBulk: a stream of the kernel's TCP that goes once round all sequence numbers
// (ZCTAP_SCALE; else a part of it) arrives by AF_XDP as it was sent, in either mode and with
// either size of frames, and next to nothing of it was copied.
func TestNSXDPBulk(t *testing.T) {
	size := int64(scale(4<<10, 64)) << 20
	for _, mtu := range []int{1500, 9000} {
		for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
			t.Run(fmt.Sprintf("%s/%d", mode, mtu), func(t *testing.T) {
				ours, theirs := newVeth(t, mtu)
				q, peer := openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: mode})(t, zctap.Config{})
				defer closeWhole(t, q)
				wholeStream(t, q, peer, pattern.New(uint64(mtu)), size)
				if s := q.Stats(); s.CopiedBytes*1000 > uint64(size) || s.ZeroCopyBytes+s.CopiedBytes != uint64(size) {
					t.Errorf("%d bytes zero-copy, %d copied, of %d", s.ZeroCopyBytes, s.CopiedBytes, size)
				}
			})
		}
	}
}
