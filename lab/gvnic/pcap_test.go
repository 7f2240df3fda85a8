//go:build linux

package gvnic

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// pcapPackets reads a recording, and checks its form.
func pcapPackets(t *testing.T, b []byte) (packets [][]byte) {
	t.Helper()
	if len(b) < 24 || le.Uint32(b) != 0xa1b23c4d || le.Uint16(b[4:]) != 2 || le.Uint16(b[6:]) != 4 || le.Uint32(b[20:]) != 1 {
		t.Fatalf("file header %x", b[:min(24, len(b))])
	}
	var last time.Time
	for b = b[24:]; len(b) > 0; {
		at := time.Unix(int64(le.Uint32(b)), int64(le.Uint32(b[4:])))
		n := int(le.Uint32(b[8:]))
		if n != int(le.Uint32(b[12:])) || at.Before(last) || time.Since(at) > time.Minute {
			t.Fatalf("record header %x", b[:16])
		}
		packets, b, last = append(packets, b[16:16+n]), b[16+n:], at
	}
	return packets
}

// TestPcap: both directions, super-frames as packets, checksums computed, and
// the traffic as it would be without.
func TestPcap(t *testing.T) {
	var out bytes.Buffer
	x, y := newGuest(t, newDevice(t, Config{})), newGuest(t, newDevice(t, Config{Index: 1}))
	r := Pcap(y.dev, &out)
	Join(x.dev, r)
	x.up(setup{})
	y.up(setup{rsc: true})
	x.oneQueue()
	y.oneQueue()
	big := spec{payload: pattern(1, 10_000), partial: true}
	x.tx[0].send(big.frame(t), sending{mss: 1460, header: 54})
	if got := y.rx[0].wait(); got.segment != 1460 || !bytes.Equal(got.payload, big.payload) {
		t.Errorf("%+v", got)
	}
	small := spec{v6: true, payload: pattern(2, 77), partial: true}
	y.tx[0].send(small.frame(t), sending{csum: true})
	x.rx[0].wait()
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	packets := pcapPackets(t, out.Bytes())
	if len(packets) != 8 || r.Frames() != 8 {
		t.Fatalf("%d packets, %d counted", len(packets), r.Frames())
	}
	var payload []byte
	for _, p := range packets[:7] {
		_, _, b := checkFrame(t, p)
		payload = append(payload, b...)
	}
	small.partial = false
	if !bytes.Equal(payload, big.payload) || !bytes.Equal(packets[7], small.frame(t)) {
		t.Error("not what was sent")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// brokenWriter takes nothing.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestPcapError: the traffic goes on, and who asks is told.
func TestPcapError(t *testing.T) {
	e := &slowEnd{mailbox: mailbox{maxFrames: 1000, maxBytes: 1 << 20}}
	r := Pcap(e, brokenWriter{})
	for range 500 {
		if !r.Deliver(Frame{Data: make([]byte, 1000)}) {
			t.Fatal("refused")
		}
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
	if frames, _ := e.take(nil); len(frames) != 500 {
		t.Errorf("%d frames", len(frames))
	}
	// What is refused is not recorded.
	var out bytes.Buffer
	e = &slowEnd{mailbox: mailbox{maxFrames: 1, maxBytes: 1 << 20}}
	r = Pcap(e, &out)
	r.Deliver(Frame{Data: make([]byte, 60)})
	if r.Deliver(Frame{Data: make([]byte, 60)}) || r.Flush() != nil || len(pcapPackets(t, out.Bytes())) != 1 {
		t.Error("a refused frame was recorded")
	}
}
