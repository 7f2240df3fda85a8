//go:build linux

package scenario

import (
	"slices"
	"testing"

	"github.com/zctap/zctap/lab/gvnic"
)

// TestLabZeroCopy has the proof, and what must not harm it: an unmodified kernel
// with its own driver receives a stream by RECV_ZC, every byte is right, the kernel
// says that it copied none, and the pages that the application read are pages
// that the NIC wrote. All on one machine; the last one ends it.
func TestLabZeroCopy(t *testing.T) {
	inTurn(t, 28)
	r := newRig(t, gvnic.Config{MTU: 9000})
	for i := range r.job.Interfaces {
		r.job.Interfaces[i].MTU = 1500
	}
	r.machine.Known = append(r.machine.Known, unreadableChecksum)
	r.boot()
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) { r.sub(t).receive(v) })
	}
	for _, f := range wireFaults {
		t.Run(f.faults.String(), func(t *testing.T) { r.sub(t).receiveDespite(f) })
	}
	for _, c := range []struct {
		name string
		run  func(*rig)
	}{
		{"steering moves", (*rig).steeringMoves},
		{"device reset", (*rig).deviceReset},
		{"no device", (*rig).noDevice},
		{"no split", (*rig).noSplit},
		{"guest killed", (*rig).guestKilled},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(r.sub(t)) })
	}
}

// TestLabSmallBuffers receives into buffers of 2,048 bytes, of which two share a
// page, on two CPUs.
func TestLabSmallBuffers(t *testing.T) {
	inTurn(t, 7)
	r := newRig(t, gvnic.Config{BufferSize: 2048})
	r.machine.CPUs = 2
	r.boot()
	r.receive(variant{})
}

func (r *rig) wantZeroCopy(got *received, bytes int) {
	r.Helper()
	if got.Bytes != bytes || got.Mismatches != 0 || got.CopyCount != 0 || got.CopiedBytes != 0 {
		r.Errorf("%d of %d bytes, %d wrong, %d copied in %d pieces", got.Bytes, bytes, got.Mismatches, got.CopiedBytes, got.CopyCount)
	}
	r.wantFrames(got.frames)
}

// wantFrames checks that all page frames that the application read are among those
// that the NIC wrote payload to. There it may have written to more: what came twice
// is not delivered twice.
func (r *rig) wantFrames(read []uint64) {
	r.Helper()
	written := r.nic.PayloadFrames(queue)
	for _, f := range read {
		if _, ok := slices.BinarySearch(written, f); !ok {
			r.Errorf("the application read page frame %#x, which the NIC did not write: of %d that it wrote and %d read", f, len(written), len(read))
			return
		}
	}
	if len(read) == 0 {
		r.Error("the application read no page frame")
	}
}
