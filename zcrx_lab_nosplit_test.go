//go:build linux

package zctap_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/zctap/zctap"
)

// splitting is what the NIC says of one of its receive queues.
type splitting struct {
	Unsplit      uint64 `json:"unsplit"`       // frames
	PayloadBytes uint64 `json:"payload_bytes"` // of those that it split
}

// splitting asks the NIC, for the queue of the area, which is the last.
func (g *guest) splitting() splitting {
	g.Helper()
	var queues []splitting
	g.ok(json.Unmarshal([]byte(tell(g, "queues")), &queues))
	return queues[len(queues)-1]
}

// takes receives until it has so many bytes, or fails.
func (f *flow) takes(bytes int64) error {
	iovs := make([]zctap.Iov, 64)
	for f.got < bytes {
		n, err := f.recv(iovs)
		if err != nil {
			return err
		}
		f.check(iovs[:n])
		f.release(iovs[:n])
	}
	return nil
}

// TestLabStopsSplitting: in the middle of streams the NIC stops splitting headers
// from payload, and the kernel drops all that comes. The connections of the queue
// end with an error that names the remedy; no byte counts that the NIC did not
// split; what comes by another queue goes on; and when the NIC splits again all is
// as before, for a listener of before, too.
func TestLabStopsSplitting(t *testing.T) {
	g := newGuest(t, zctap.Config{})
	before := g.splitting()
	ln, err := g.q.Listen("tcp", ":0")
	g.ok(err)
	defer ln.Close()
	flows := g.flowsTo(ln, 3, 1<<30)
	for _, f := range flows[:2] { // the third one's peer is silent
		f.send()
		g.ok(f.takes(1 << 20))
	}
	tell(t, "nosplit", "on")
	defer tell(t, "nosplit", "off")

	g.ordinary(8 << 20)
	for i, f := range flows {
		err := f.takes(f.size)
		if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "tcp-data-split on") || !strings.Contains(err.Error(), "ethtool -G") {
			t.Errorf("flow %d after %d bytes: %v", i, f.got, err)
		}
		g.ok(f.c.Close())
	}
	if flows[2].got != 0 {
		t.Errorf("%d bytes of a peer that is silent", flows[2].got)
	}
	s, now := g.q.Stats(), g.splitting()
	if s.Events["all-dropped"] == 0 || now.Unsplit == before.Unsplit {
		t.Errorf("%d frames not split, events %v", now.Unsplit-before.Unsplit, s.Events)
	}
	g.wantCounted(flows, 0)
	if split := now.PayloadBytes - before.PayloadBytes; s.CopiedBytes != 0 || s.ZeroCopyBytes > split {
		t.Errorf("%d bytes count as not copied and %d as copied; the NIC split %d", s.ZeroCopyBytes, s.CopiedBytes, split)
	}
	for _, f := range flows { // the peers end their streams, whether they know or not
		f.p.Close()
		f.wg.Wait()
	}

	tell(t, "nosplit", "off")
	again := g.flowsTo(ln, 1, 8<<20)
	again = append(again, g.flows(2, 8<<20)...)
	for _, f := range again {
		f.send()
	}
	for _, f := range again {
		f.receive()
		f.sent()
		g.ok(f.c.Close())
	}
	g.wantCounted(append(flows, again...), 0)
	if s := g.q.Stats(); s.CopiedBytes != 0 {
		t.Errorf("%d bytes were copied: events %v", s.CopiedBytes, s.Events)
	}
	g.free()
}

// ordinary receives a stream by a socket of the kernel's, through another queue.
func (g *guest) ordinary(size int64) {
	g.Helper()
	ln, err := net.Listen("tcp4", netip.AddrPortFrom(g.own, 0).String())
	g.ok(err)
	defer ln.Close()
	var p net.Conn
	g.ok(g.ns.Do(func() (err error) {
		p, err = net.DialTimeout("tcp", ln.Addr().String(), guestPatience)
		return err
	}))
	defer p.Close()
	sent := make(chan error, 1)
	go func() { sent <- sendPiece(p, g.pat, 0, size) }()
	c, err := ln.Accept()
	g.ok(err)
	defer c.Close()
	b, err := io.ReadAll(patientReader{c})
	g.ok(err)
	g.ok(<-sent)
	if bad := g.pat.Mismatches(b, 0); int64(len(b)) != size || bad != 0 {
		g.Errorf("a socket of the kernel's received %d of %d bytes, %d of them wrong", len(b), size, bad)
	}
}
