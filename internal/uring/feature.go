//go:build linux

package uring

import (
	"errors"
	"fmt"
	"sync"
)

// Feature is something that a kernel may or may not be able to do and that can only be found out by trying.
type Feature int

const (
	// Basic is that this process may make a ring at all.
	Basic Feature = iota
	// MultishotRecv is RecvMultishot with a provided-buffer ring in the kernel's memory.
	MultishotRecv
	// BundleRecv is RecvMultishot with RecvBundle.
	BundleRecv
	// MsgRingWake is Waker.Wake.
	MsgRingWake
	// IncrementalBuffers is BufRingConfig.Incremental.
	IncrementalBuffers
	// LargeCQEs is SetupCQE32.
	LargeCQEs
	// MixedCQEs is SetupCQEMixed, such that completions are right also when the queue overflows: kernels from 6.18 on have
	// it, those before 7.3 lose and repeat completions then. SetupCQE32 is right everywhere.
	MixedCQEs
	// RecvZeroCopy is that the kernel knows RecvZC.
	RecvZeroCopy
	// ZCRX is Ring.RegisterZCRX: that the kernel knows it and this process is allowed to.
	ZCRX
	// ZCRXFlush is IFQ.Flush.
	ZCRXFlush
	// ZCRXExport is IFQ.Export and Ring.ImportZCRX.
	ZCRXExport
	// ZCRXBufferSize is ZCRXConfig.BufferSize.
	ZCRXBufferSize
	// ZCRXNoDevice is ZCRXConfig.NoDevice.
	ZCRXNoDevice
	// ZCRXNotices is ZCRXConfig.Events and Stats, and IFQ.ArmEvent.
	ZCRXNotices
	// ZCRXAddArea is IFQ.AddArea.
	ZCRXAddArea
	// ZCRXNoStall is that a RecvZC which stops for want of a buffer, or of room in the completion queue, always says so.
	// Without, it may just wait for more data, with data in the socket: cancel it and push it again after such a shortage.
	// Can be tried only with ZCRXNoDevice; where that is missing expect it to stall.
	ZCRXNoStall

	featureCount
)

// featureProbes try one feature each. They return nil for yes, an error that matches ErrNotSupported for no, and
// any other error if they could not find out.
var featureProbes = [featureCount]struct {
	name  string
	since string // for messages only
	probe func() error
}{
	Basic:              {"io_uring", "5.11", probeBasic},
	MultishotRecv:      {"multishot receive into provided buffers", "6.4", probeMultishotRecv},
	BundleRecv:         {"bundle receive", "6.10", probeBundleRecv},
	MsgRingWake:        {"wake by message from outside a ring", "6.13", probeMsgRingWake},
	IncrementalBuffers: {"incremental provided buffers", "6.12", probeIncrementalBuffers},
	LargeCQEs:          {"32 byte completions", "5.19", probeSetup(SetupCQE32)},
	MixedCQEs:          {"mixed completions", "7.3", probeMixed},
	RecvZeroCopy:       {"zero-copy receive requests", "6.15", probeRecvZC},
	ZCRX:               {"zero-copy receive queues", "6.15", probeZCRX},
	ZCRXFlush:          {"flushing of refill rings", "6.19", probeControl(ctrlFlushRQ)},
	ZCRXExport:         {"sharing of zero-copy receive queues", "6.19", probeExport},
	ZCRXBufferSize:     {"choice of zero-copy receive buffers", "7.0", probeBufferSize},
	ZCRXNoDevice:       {"zero-copy receive queues without a device", "7.1", probeRegisterFlag(zcrxRegNodev)},
	ZCRXNotices:        {"events of zero-copy receive queues", "7.2", probeEvents},
	ZCRXAddArea:        {"several areas in a zero-copy receive queue", "7.3", probeControl(ctrlAddArea)},
	ZCRXNoStall:        {"zero-copy receive that never stalls", "7.3", probeNoStall},
}

// String names the feature.
func (f Feature) String() string {
	if f < 0 || f >= featureCount {
		return fmt.Sprintf("Feature(%d)", int(f))
	}
	return featureProbes[f].name
}

// AllFeatures lists all features that Have can be asked about.
func AllFeatures() []Feature {
	all := make([]Feature, featureCount)
	for i := range all {
		all[i] = Feature(i)
	}
	return all
}

// Have finds out whether this process can use f on this kernel, by using it. There are three outcomes: nil is yes, an error
// that matches ErrNotSupported is no, and any other error means that the attempt failed for a reason that says nothing
// (out of descriptors, out of memory). Yes and no are remembered, so a later change of the sysctl is not seen; the third is
// tried again at the next call. Any goroutine may call it.
func Have(f Feature) error {
	if f < 0 || f >= featureCount {
		return fmt.Errorf("uring: no such feature: %v", f)
	}
	return featureCache[f].get(func() error {
		p := &featureProbes[f]
		err := p.probe()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrNotSupported):
			return fmt.Errorf("%s (Linux %s): %w", p.name, p.since, err)
		}
		return fmt.Errorf("%s: could not find out: %w", p.name, err)
	})
}

var featureCache [featureCount]outcome

// outcome remembers the answer of a probe once there is one.
type outcome struct {
	mu    sync.Mutex
	known bool
	err   error
}

func (o *outcome) get(probe func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known {
		return o.err
	}
	err := probe()
	if err == nil || errors.Is(err, ErrNotSupported) {
		o.known, o.err = true, err
	}
	return err
}
