package guest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Version is the version of the protocol: frames, messages, and what both
// sides do with them. The agent names it in Hello, and the runner accepts no
// other.
const Version = 1

// A frame is a header and a payload. The header is, in little-endian order:
//
//	0  u8   kind
//	1  u8   0
//	2  u16  the step, job or event that the frame is about, as its kind says
//	4  u32  length of the payload
const headerSize = 8

const (
	// MaxMessage is the longest payload that is a message, in bytes.
	MaxMessage = 1 << 20
	// MaxChunk is the longest payload that is a piece of a stream, in bytes: a
	// frame then fits the 32 KiB that the kernel's virtio_console takes at a time.
	MaxChunk = 32<<10 - headerSize
	// StdinWindow is how many bytes of a step's standard input may be under way
	// to it: the runner sends no more until the agent says that it has written
	// some of them (KindWindow).
	StdinWindow = 2 * MaxChunk
)

// A Kind says what a frame is.
type Kind uint8

// Kinds of frame. What is in the payload, and what the header's number is:
const (
	KindHello    Kind = 1 + iota // Hello; 0. The agent's first frame, and only that
	KindFatal                    // text; 0. The agent gives up
	KindStarted                  // nothing; step
	KindStdout                   // bytes that the step wrote; step
	KindStderr                   // bytes that the step wrote; step
	KindWindow                   // u32, bytes of standard input that the step's process was given; step
	KindExit                     // Exit; step. Its last frame
	KindEvent                    // Event; a number that the agent chose for the answer
	KindFile                     // File; job. Followed by its FileData, and by nothing else of this job between
	KindFileData                 // bytes of the file that came last; job
	KindDone                     // Done; job. Its last frame

	KindJob      // Job; job
	KindCancel   // nothing; job. Its processes are killed
	KindStdin    // bytes for the step; step
	KindStdinEOF // nothing; step
	KindReply    // Reply; the event's number
	KindShutdown // nothing; 0. The machine switches itself off
	kinds
)

// payloads has the longest payload of each kind.
var payloads = [kinds]int{
	KindHello: 4 << 10, KindFatal: 4 << 10,
	KindStdout: MaxChunk, KindStderr: MaxChunk, KindWindow: 4, KindExit: 8 << 10,
	KindEvent: 128 << 10, KindFile: 16 << 10, KindFileData: MaxChunk, KindDone: 8 << 10,
	KindJob: MaxMessage, KindStdin: MaxChunk, KindReply: 128 << 10,
}

// fromGuest reports whether it is the agent who sends frames of this kind.
func (k Kind) fromGuest() bool { return k >= KindHello && k <= KindDone }

// A Frame is one frame.
type Frame struct {
	Kind    Kind
	ID      uint16
	Payload []byte
}

// ErrProtocol is in each error that says that the peer broke the protocol.
var ErrProtocol = errors.New("protocol violated")

// Decode takes the payload for a message in JSON.
func (f Frame) Decode(message any) error {
	if err := json.Unmarshal(f.Payload, message); err != nil {
		return fmt.Errorf("message of kind %d: %w: %w", f.Kind, ErrProtocol, err)
	}
	return nil
}

// A Reader takes frames from a stream. Its memory is bounded by the longest
// payload, whatever the stream holds.
type Reader struct {
	r      io.Reader
	guest  bool
	header [headerSize]byte
	buf    []byte
}

// NewReader returns a Reader of what the agent (fromGuest) or the runner sends.
func NewReader(r io.Reader, fromGuest bool) *Reader { return &Reader{r: r, guest: fromGuest} }

// Next returns the next frame. Its payload is valid until the following call.
// The error at the end of the stream is io.EOF, in the middle of a frame
// io.ErrUnexpectedEOF, and has ErrProtocol in it for a frame that can't be.
func (r *Reader) Next() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: Kind(r.header[0]), ID: binary.LittleEndian.Uint16(r.header[2:])}
	length := binary.LittleEndian.Uint32(r.header[4:])
	switch {
	case f.Kind == 0 || f.Kind >= kinds || f.Kind.fromGuest() != r.guest || r.header[1] != 0:
		return Frame{}, fmt.Errorf("frame % x: unknown kind: %w", r.header, ErrProtocol)
	case length > uint32(payloads[f.Kind]):
		return Frame{}, fmt.Errorf("frame % x: payload of %d bytes, %d at most: %w", r.header, length, payloads[f.Kind], ErrProtocol)
	}
	if int(length) > cap(r.buf) {
		r.buf = make([]byte, max(int(length), MaxChunk))
	}
	f.Payload = r.buf[:length]
	if _, err := io.ReadFull(r.r, f.Payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// A Writer puts frames into a stream, from any number of goroutines.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
	err error
}

// NewWriter returns a Writer to w, which gets each frame by one Write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one frame. After a failure, which leaves half a frame, the
// stream is of no use, and all later calls fail likewise.
func (w *Writer) Write(kind Kind, id uint16, payload []byte) error {
	if len(payload) > payloads[kind] {
		return fmt.Errorf("frame of kind %d: payload of %d bytes, %d at most", kind, len(payload), payloads[kind])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.buf = append(w.buf[:0], byte(kind), 0)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, id)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(payload)))
	w.buf = append(w.buf, payload...)
	_, w.err = w.w.Write(w.buf)
	return w.err
}

// Message sends a frame whose payload is a message in JSON.
func (w *Writer) Message(kind Kind, id uint16, message any) error {
	payload, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("message of kind %d: %w", kind, err)
	}
	return w.Write(kind, id, payload)
}
