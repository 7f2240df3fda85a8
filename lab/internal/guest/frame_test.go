package guest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	w := NewWriter(&stream)
	big := bytes.Repeat([]byte{7}, MaxChunk)
	for _, err := range []error{
		w.Message(KindHello, 0, Hello{Version: Version, Release: "7.3"}),
		w.Write(KindStdout, 0xfffe, big),
		w.Write(KindStarted, 3, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(KindStdout, 1, append(big, 0)); err == nil {
		t.Error("a payload that is too long was written")
	}
	r := NewReader(iotest.OneByteReader(&stream), true)
	f, err := r.Next()
	var h Hello
	if err != nil || f.Kind != KindHello || f.ID != 0 || f.Decode(&h) != nil || h.Release != "7.3" {
		t.Errorf("first frame %v, %v, %v", f, h, err)
	}
	if f, err := r.Next(); err != nil || f.Kind != KindStdout || f.ID != 0xfffe || !bytes.Equal(f.Payload, big) {
		t.Errorf("second frame: kind %d, id %d, %d bytes, %v", f.Kind, f.ID, len(f.Payload), err)
	}
	if f, err := r.Next(); err != nil || f.Kind != KindStarted || f.ID != 3 || len(f.Payload) != 0 {
		t.Errorf("third frame %v, %v", f, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestFramesThatCantBe(t *testing.T) {
	cases := []struct {
		name, stream string
		fromGuest    bool
		want         error
	}{
		{"nothing", "", true, io.EOF},
		{"half a header", "\x01\x00\x00", true, io.ErrUnexpectedEOF},
		{"no payload", "\x04\x00\x01\x00\x01\x00\x00\x00", true, io.ErrUnexpectedEOF},
		{"half a payload", "\x04\x00\x01\x00\x02\x00\x00\x00x", true, io.ErrUnexpectedEOF},
		{"kind 0", "\x00\x00\x00\x00\x00\x00\x00\x00", true, ErrProtocol},
		{"no such kind", "\xff\x00\x00\x00\x00\x00\x00\x00", true, ErrProtocol},
		{"reserved byte", "\x03\x01\x00\x00\x00\x00\x00\x00", true, ErrProtocol},
		{"the runner's kind from the guest", string([]byte{byte(KindShutdown), 0, 0, 0, 0, 0, 0, 0}), true, ErrProtocol},
		{"the guest's kind from the runner", string([]byte{byte(KindStdout), 0, 0, 0, 0, 0, 0, 0}), false, ErrProtocol},
		{"4 GiB", "\x04\x00\x01\x00\xff\xff\xff\xff", true, ErrProtocol},
		{"a payload for one that has none", "\x03\x00\x01\x00\x01\x00\x00\x00x", true, ErrProtocol},
	}
	for _, c := range cases {
		f, err := NewReader(strings.NewReader(c.stream), c.fromGuest).Next()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, f, err, c.want)
		}
	}
	f := Frame{Kind: KindHello, Payload: []byte("{")}
	if err := f.Decode(new(Hello)); !errors.Is(err, ErrProtocol) {
		t.Errorf("half a message: %v", err)
	}
}

// TestBrokenWriter: after half a frame no other follows.
func TestBrokenWriter(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&shortWriter{&out, 10})
	first := w.Write(KindStdout, 1, []byte("0123456789"))
	second := w.Write(KindStarted, 1, nil)
	if first == nil || !errors.Is(second, first) || out.Len() != 10 {
		t.Errorf("errors %v and %v, %d bytes written", first, second, out.Len())
	}
}

type shortWriter struct {
	w    io.Writer
	left int
}

func (s *shortWriter) Write(p []byte) (int, error) {
	n, _ := s.w.Write(p[:min(len(p), s.left)])
	s.left -= n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x04\x00\x01\x00\x02\x00\x00\x00xy"), true)
	f.Add([]byte("\x0c\x00\x01\x00\x02\x00\x00\x00{}"), false)
	f.Fuzz(func(t *testing.T, stream []byte, fromGuest bool) {
		r := NewReader(bytes.NewReader(stream), fromGuest)
		var again bytes.Buffer
		w := NewWriter(&again)
		for {
			fr, err := r.Next()
			if err != nil {
				break
			}
			if err := w.Write(fr.Kind, fr.ID, fr.Payload); err != nil {
				t.Fatalf("what was read can't be written: %v", err)
			}
		}
		if !bytes.HasPrefix(stream, again.Bytes()) {
			t.Errorf("% x became % x", stream, again.Bytes())
		}
	})
}
