package pcap

import (
	"io"

	"github.com/zctap/zctap/internal/mono"
)

// flushBytes is how many bytes of records are written at once, about.
const flushBytes = 256 << 10

// Counts tell what was recorded.
type Counts struct {
	Frames, Bytes uint64 // recorded; bytes of frames, not of the file
	Truncated     uint64 // of Frames, those longer than Snaplen
	Lost          uint64 // not recorded, for the writer had failed
}

// A writer puts records together and hands them to w, as few times as makes
// sense, and never a part of one.
type writer struct {
	w       io.Writer
	epoch   int64 // nanoseconds since 1970 at mono.Time 0
	snaplen int

	pending []byte // records not written yet
	frames  Counts // that these add when they are
	counts  Counts
	err     error // of w; nothing is written any more
}

// begin starts the record of a frame of length bytes, which add is to be called
// with.
func (w *writer) begin(now mono.Time, length int) record {
	if w.err != nil {
		w.counts.Lost++
		return record{}
	}
	n := min(length, w.snaplen)
	w.pending = appendRecordHeader(w.pending, w.epoch+int64(now), n, length)
	w.frames.Frames++
	w.frames.Bytes += uint64(n)
	if n < length {
		w.frames.Truncated++
	}
	return record{w, n}
}

// A record is one that is being put together.
type record struct {
	w    *writer
	left int // bytes that it takes yet
}

// add appends to the frame what the record has room for.
func (r *record) add(p []byte) {
	if r.left == 0 {
		return
	}
	p = p[:min(len(p), r.left)]
	r.w.pending = append(r.w.pending, p...)
	r.left -= len(p)
}

// flush writes what is pending if that is at least so many bytes.
func (w *writer) flush(atLeast int) {
	if len(w.pending) < atLeast || len(w.pending) == 0 {
		return
	}
	n, err := w.w.Write(w.pending)
	if err == nil && n < len(w.pending) {
		err = io.ErrShortWrite
	}
	if w.err = err; err != nil {
		w.counts.Lost += w.frames.Frames
	} else {
		w.counts.Frames += w.frames.Frames
		w.counts.Bytes += w.frames.Bytes
		w.counts.Truncated += w.frames.Truncated
	}
	w.pending, w.frames = w.pending[:0], Counts{}
}
