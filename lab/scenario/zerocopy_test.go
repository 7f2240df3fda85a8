//go:build linux

package scenario

import (
	"slices"
	"testing"

	"github.com/zctap/zctap/lab/gvnic"
)

// TestLabZeroCopy is the proof: an unmodified kernel with its own driver
// receives a stream by RECV_ZC, every byte is right, the kernel says that it
// copied none, and the pages that the application read are the ones that the NIC
// wrote.
func TestLabZeroCopy(t *testing.T) {
	const bytes = 100_000_000
	r := newRig(t, gvnic.Config{})
	r.boot()
	r.wantZeroCopy(r.result(r.do(transfer{bytes: bytes, pages: 4096}.steps()...)), bytes)
}

func (r *rig) wantZeroCopy(got *received, bytes int) {
	r.Helper()
	if got.Bytes != bytes || got.Mismatches != 0 || got.CopyCount != 0 || got.CopiedBytes != 0 {
		r.Errorf("%d of %d bytes, %d wrong, %d copied in %d pieces", got.Bytes, bytes, got.Mismatches, got.CopiedBytes, got.CopyCount)
	}
	written := r.nic.PayloadFrames(queue)
	read := slices.Clone(got.frames)
	slices.Sort(read)
	if len(read) == 0 || !slices.Equal(slices.Compact(read), written) {
		r.Errorf("the application read %d page frames, the NIC wrote %d, and they are not the same", len(read), len(written))
	}
}
