//go:build linux

package gvnic

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// The pcap format is draft-ietf-opsawg-pcap; internal/driver/pcap writes it for
// drivers, whose frames lie in buffers of a region.
const (
	pcapMagicNano = 0xa1b23c4d // timestamps in nanoseconds
	pcapSnaplen   = 256 << 10
	pcapEthernet  = 1 // LINKTYPE_ETHERNET
)

// A Recorder is an end with a recording of what passes, in both directions.
type Recorder struct {
	inner End

	mu     sync.Mutex
	out    *bufio.Writer
	frames uint64
	err    error
}

var _ End = (*Recorder)(nil)

// Pcap decorates an end so that what it sends and what is delivered to it is
// written to w in pcap format, timestamps and all, as a wire between two
// machines would show it: super-frames as the packets that they stand for, and
// checksums computed. Refused deliveries are not recorded.
//
// The recording is buffered; Close flushes it. An error of w ends the recording
// and not the traffic; Close returns it. w stays the caller's.
func Pcap(inner End, w io.Writer) *Recorder {
	r := &Recorder{inner: inner, out: bufio.NewWriterSize(w, 256<<10)}
	var h []byte
	h = le.AppendUint32(h, pcapMagicNano)
	h = le.AppendUint16(h, 2) // version
	h = le.AppendUint16(h, 4)
	h = le.AppendUint64(h, 0) // reserved
	h = le.AppendUint32(h, pcapSnaplen)
	h = le.AppendUint32(h, pcapEthernet)
	_, r.err = r.out.Write(h)
	return r
}

// Connect connects the decorated end to the peer, through the recording.
func (r *Recorder) Connect(peer End) { r.inner.Connect(&recordedPeer{peer, r}) }

// Deliver records a frame that the decorated end takes.
func (r *Recorder) Deliver(f Frame) bool { return r.pass(r.inner, f) }

// Ready is passed on.
func (r *Recorder) Ready() { r.inner.Ready() }

// Close closes the decorated end, and flushes the recording.
func (r *Recorder) Close() error {
	err := r.inner.Close()
	return errors.Join(err, r.Flush())
}

// Flush writes what is buffered, and returns the error that ended the
// recording, if any.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.out.Flush()
	}
	if r.err != nil {
		return fmt.Errorf("gvnic: recording ended after %d packets: %w", r.frames, r.err)
	}
	return nil
}

// Frames is how many packets were recorded.
func (r *Recorder) Frames() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frames
}

// recordedPeer stands between the decorated end and its peer.
type recordedPeer struct {
	End
	r *Recorder
}

func (p *recordedPeer) Deliver(f Frame) bool { return p.r.pass(p.End, f) }

// pass delivers a frame and records it. The packets are made first: the frame's
// bytes are the receiver's once it is delivered.
func (r *Recorder) pass(to End, f Frame) bool {
	packets := r.packets(f)
	at := time.Now()
	if !to.Deliver(f) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range packets {
		if r.err != nil {
			break
		}
		r.record(at, b)
	}
	return true
}

// packets is what f looks like on a wire; copies.
func (r *Recorder) packets(f Frame) (out [][]byte) {
	frames, ok := f.segment()
	if !ok || f.SegmentSize == 0 {
		c := f
		c.Data = append([]byte(nil), f.Data...)
		c.settle()
		return [][]byte{c.Data}
	}
	for i := range frames {
		out = append(out, frames[i].Data)
	}
	return out
}

func (r *Recorder) record(at time.Time, b []byte) {
	n := min(len(b), pcapSnaplen)
	var h [16]byte
	le.PutUint32(h[0:], uint32(at.Unix()))
	le.PutUint32(h[4:], uint32(at.Nanosecond()))
	le.PutUint32(h[8:], uint32(n))
	le.PutUint32(h[12:], uint32(len(b)))
	if _, r.err = r.out.Write(h[:]); r.err == nil {
		_, r.err = r.out.Write(b[:n])
	}
	if r.err == nil {
		r.frames++
	}
}
