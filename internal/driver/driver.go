// Package driver is the contract between a wire and the protocol stack: frames
// come in as buffers of the application's region, and go out as bytes. The
// drivers are in its subfolders: xdp, tun, and mem, which joins two ends in one
// process; impair and pcap decorate any of them.
//
// A driver belongs to one goroutine, the engine's, which calls everything but
// Wake. It works in batches: one call through the interface moves many frames.
package driver

import (
	"math"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
)

// A Driver receives into the buffers of one pool and sends on the same wire.
type Driver interface {
	// Caps describes the wire. Constant.
	Caps() Caps

	// Poll receives frames into b, as many as are there and b has room for, and
	// does not block. The references of all frags in b are the caller's. With
	// no buffer free the driver leaves frames where they are, or counts what it
	// must drop. An error is final: the wire is gone.
	Poll(now mono.Time, b *Batch) error

	// Send transmits frames and returns how many it took, in order; fewer than
	// all means that the wire is full for now. The bytes are read before Send
	// returns. An error is final, and concerns frame n; a frame that the wire
	// refuses is counted as dropped, not an error.
	Send(now mono.Time, frames []TxFrame) (n int, err error)

	// Wait blocks until Poll may find something, a Send that took fewer than
	// all may take more, Wake was called, or until has come (0: no limit). It
	// may return early. While the driver lacks free buffers, it counts on the
	// pool's OnReturn function to call Wake.
	Wait(until mono.Time) error

	// Wake makes a Wait that is under way, or the next one, return. Any
	// goroutine; cheap when Wait is not under way is not promised.
	Wake()

	// Stats adds the driver's counters to s.
	Stats(s *Stats)

	// Close detaches from the wire and puts every buffer that the driver holds
	// back. Frames of an earlier Poll stay valid.
	Close() error
}

// A Lingerer is a Driver that can let frames gather, as a NIC moderates its
// interrupts.
type Lingerer interface {
	// Linger is Wait that frames do not end, so that Poll finds more of them. until is
	// not 0.
	Linger(until mono.Time) error
}

// Caps describes what a driver can do.
type Caps struct {
	Name       string // "tun", "mem", "xdp"
	LinkHeader int    // bytes before the IP header: 0, or 14 for Ethernet
	MTU        int    // bytes of the largest IP packet that the wire carries
	MaxGSO     int    // bytes of the largest TCP super-segment, IP header included, that Send takes; 0: none
	TxChecksum bool   // Send completes transport checksums (TxFrame.CsumStart)
	ZeroCopy   bool   // payload reaches the region without a copy by the CPU in our process

	// RxRoom is how many bytes of a frame one buffer takes, headers included, for
	// a driver that starts each frame in a buffer of its own; 0: what the driver
	// receives fills buffers.
	RxRoom int
	// RxPosted is how many buffers a driver that can't leave frames waiting keeps
	// away from the pool to receive into; 0: it takes buffers as frames come.
	RxPosted int
}

// A Batch is where Poll puts frames. It is reused: what Poll left is valid
// until the next Poll of the same batch.
type Batch struct {
	Frames []Frame // len: frames received; cap: the most that Poll may receive
	// Frags is the memory that the frames' Frags slices are cut from; its
	// capacity bounds what one Poll receives.
	Frags []buf.Frag
	// MaxBytes, if not 0, ends a Poll with the frame that reaches it: what is
	// received together should still be in the cache when it is looked at, and
	// be acknowledged before the sender runs dry.
	MaxBytes int
	bytes    int // of Frames, counted by Add
}

// NewBatch makes a batch for up to frames frames and frags frags.
func NewBatch(frames, frags int) *Batch {
	return &Batch{Frames: make([]Frame, 0, frames), Frags: make([]buf.Frag, 0, frags)}
}

// Reset empties the batch; a driver's Poll begins with it.
func (b *Batch) Reset() {
	b.Frames = b.Frames[:0]
	b.Frags = b.Frags[:0]
	b.bytes = 0
}

// Add appends a received frame; a driver does so while the batch is not Full.
func (b *Batch) Add(f Frame) {
	n := len(b.Frames)
	b.Frames = b.Frames[:n+1]
	g := &b.Frames[n]
	// Field by field: a copy of the whole by vectors would wait for the stores of
	// all fields, which have just been made.
	g.Head, g.Frags = f.Head, f.Frags
	g.Len, g.Checksum, g.GSOSize = f.Len, f.Checksum, f.GSOSize
	b.bytes += f.Len
}

// AddFrags is Add of a frame that is all of Frags from first on, n bytes, and has no
// Head. It is made where it lies, which spares a copy of each.
func (b *Batch) AddFrags(first, n int, c Checksum) *Frame {
	i := len(b.Frames)
	b.Frames = b.Frames[:i+1]
	f := &b.Frames[i]
	f.Head, f.Frags = nil, b.Frags[first:len(b.Frags):len(b.Frags)]
	f.Len, f.Checksum, f.GSOSize = n, c, 0
	b.bytes += n
	return f
}

// Room is where a Poll puts the frags of its next frames, if each is in one buffer: as many as
// may follow, but they end with the frame that reaches bytes. AddEach makes frames of them.
func (b *Batch) Room() (frags []buf.Frag, bytes int) {
	bytes = math.MaxInt
	if b.MaxBytes > 0 {
		bytes = b.MaxBytes - b.bytes
	}
	n := min(cap(b.Frames)-len(b.Frames), cap(b.Frags)-len(b.Frags))
	return b.Frags[len(b.Frags):][:n], bytes
}

// AddEach is AddFrags of each of the first n frags that Room returned, which it returns.
func (b *Batch) AddEach(n int, c Checksum) []Frame {
	frags := b.Frags[len(b.Frags):][:n]
	b.Frags = b.Frags[:len(b.Frags)+n]
	frames := b.Frames[len(b.Frames):][:n]
	b.Frames = b.Frames[:len(b.Frames)+n]
	bytes := 0
	for i := range frames {
		f := &frames[i]
		f.Head, f.Frags = nil, frags[i:i+1:i+1]
		f.Len, f.Checksum, f.GSOSize = frags[i].Len(), c, 0
		bytes += f.Len
	}
	b.bytes += bytes
	return frames
}

// Full reports whether a Poll has to end: no room for a frame, or MaxBytes.
func (b *Batch) Full() bool {
	return len(b.Frames) == cap(b.Frames) || b.MaxBytes > 0 && b.bytes >= b.MaxBytes
}

// A Frame is one received frame, possibly a super-segment that the peer's
// offloads or the driver put together. Its bytes are Head, then Frags. It fits a cache
// line: a batch has many of them.
type Frame struct {
	// Head is what lies outside the region, if anything: the headers, as far
	// as the driver could tell where they end. The driver's memory, valid until
	// the next Poll.
	Head []byte
	// Frags is the rest. Each stands for one kernel reference, the caller's.
	Frags []buf.Frag
	// Len is the frame's length in bytes: of Head and Frags together.
	Len int
	// Checksum says what is known of the transport checksum.
	Checksum Checksum
	// GSOSize is the payload bytes of each segment of a super-segment; 0 if the
	// frame is not one; GSOUnknown.
	GSOSize int32
}

// GSOUnknown says that a frame is a super-segment whose segments' size nobody told:
// to TCP it is all the same, datagrams are lost in it.
const GSOUnknown = -1

// Checksum is what a driver knows of a frame's transport checksum.
type Checksum uint8

// What a driver can know of a transport checksum.
const (
	Unverified Checksum = iota // the stack has to verify it
	Vouched                    // the device verified it, or the frame never left the machine
)

// A TxFrame is one frame to send: headers, then payload in up to two pieces
// (a send ring wraps). The bytes stay the caller's.
type TxFrame struct {
	Head    []byte
	Payload [2][]byte
	// CsumStart and CsumOffset ask the driver (Caps.TxChecksum) to complete the
	// checksum at CsumStart+CsumOffset over everything from CsumStart on; the
	// field holds the pseudo-header's sum. Bytes from Head[0]. 0: nothing to do.
	CsumStart, CsumOffset int
	// GSOSize asks for segmentation into that many payload bytes each
	// (Caps.MaxGSO); 0: send as it is. IPv6 tells the IP version of Head.
	GSOSize int
	IPv6    bool
}

// Len is the frame's length in bytes.
func (f *TxFrame) Len() int { return len(f.Head) + len(f.Payload[0]) + len(f.Payload[1]) }

// Stats are a driver's counters.
type Stats struct {
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	// Syscalls the driver made on the data path, waits apart.
	RxCalls, TxCalls, Waits uint64
	// RxNoBuffer counts frames dropped for want of a free buffer; RxStalls the
	// times that frames were left waiting for one instead.
	RxNoBuffer, RxStalls uint64
	// RxMalformed counts frames that the driver itself refused.
	RxMalformed uint64
	// TxDropped counts frames that the wire refused.
	TxDropped uint64
}
