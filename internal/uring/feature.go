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
