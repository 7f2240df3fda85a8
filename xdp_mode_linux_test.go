package zctap_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

func (w *world) wantMode(q *zctap.Queue, want string, says ...string) {
	w.Helper()
	mode, why := q.XDPMode()
	if mode != want || (why == nil) != (says == nil) {
		w.Fatalf("mode %q, because of %v; want %q", mode, why, want)
	}
	for _, text := range says {
		if !strings.Contains(why.Error(), text) {
			w.Errorf("mode %q because of %q, which does not say %q", mode, why, text)
		}
	}
}

// TestNSXDPModeOfVeth: Auto takes super-segments of TCP over veth, and goes over to
// frames with the first UDP socket, of which no datagram is merged with another. A
// transfer that goes on meanwhile is not disturbed.
func TestNSXDPModeOfVeth(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	was := w.snapshot(neighborLines)
	q := w.open(zctap.XDPConfig{}, 4096)
	w.wantMode(q, zctap.XDPGeneric, "UDP", "veth")

	c, z := w.connect(w.listen(q))
	data := make([]byte, 1<<20)
	rand.Read(data)
	receive := func() {
		t.Helper()
		got := make([]byte, len(data))
		if err := z.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(z, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("what was received is not what was sent: %v", err)
		}
	}
	const rounds = 20
	sent := make(chan error, 1)
	go func() {
		for range rounds {
			if _, err := c.Write(data); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	receive()
	if n, frames := len(data)/1448, q.Stats().Frames; frames > uint64(n)/2 {
		t.Errorf("%d frames for at least %d segments: no super-segments", frames, n)
	}
	udp, err := q.ListenPacket("udp4", netip.AddrPortFrom(vethOurs4.Addr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	w.wantMode(q, zctap.XDPCopy, "UDP_SEGMENT", "zero-copy")
	for range rounds - 1 {
		receive()
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	w.segments(udp)

	// Neither a second socket nor the end of both changes anything.
	other, err := q.DialPacket("udp4", "10.89.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	udp.Close()
	w.wantMode(q, zctap.XDPCopy, "UDP_SEGMENT")
	w.exchange(c, z)
	z.Close()
	c.Close()
	w.close(q)
	w.wantMode(q, "")
	w.unchanged(was, neighborLines)
}

// segments has the peer's kernel send datagrams in one piece, which arrive as many.
func (w *world) segments(udp *zctap.PacketConn) {
	w.Helper()
	p := w.dialUDP(w.theirs, udp.LocalAddr().String())
	raw, err := p.SyscallConn()
	if err != nil {
		w.Fatal(err)
	}
	const size, count = 100, 10 // less than a frame together
	all := make([]byte, size*count)
	rand.Read(all)
	err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) })
	if err != nil {
		w.Fatal(err)
	}
	if _, err := p.Write(all); err != nil {
		w.Fatal(err)
	}
	if err := udp.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.Fatal(err)
	}
	b := make([]byte, 2*len(all))
	for i := range count {
		n, _, err := udp.ReadFrom(b)
		if err != nil || !bytes.Equal(b[:n], all[i*size:][:size]) {
			w.Fatalf("datagram %d has %d bytes, %v; want %d", i, n, err, size)
		}
	}
}

func (w *world) dialUDP(ns *netns.NS, to string) *net.UDPConn {
	w.Helper()
	var c net.Conn
	w.in(ns, func() (err error) { c, err = net.Dial("udp", to); return err })
	w.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// TestNSXDPModeReported: what was asked for is what there is, and has no reason.
func TestNSXDPModeReported(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		q := w.open(zctap.XDPConfig{Mode: mode}, 1024)
		w.wantMode(q, mode)
		if _, err := q.ListenPacket("udp4", ":0"); err != nil {
			t.Fatal(err)
		}
		w.wantMode(q, mode) // it was asked for
		w.close(q)
	}
	q := w.open(zctap.XDPConfig{Queues: []int{0}}, 1024)
	w.wantMode(q, zctap.XDPCopy, "zero-copy")
	w.close(q)
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Buffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	w.wantMode(q, "")
	w.close(q)
}

// TestNSXDPModeWithoutRights: a process that can't change the mode any more is told so
// when it opens a UDP socket, or is let if the kernel lets it; either way TCP goes on.
func TestNSXDPModeWithoutRights(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	was := w.snapshot(neighborLines)
	c := w.child("late UDP")
	c.start(w.ours)
	c.want("ready")
	conn := w.dial(w.theirs, fmt.Sprint("10.89.0.2:", receiverPort))
	for _, text := range []string{"before", "after"} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if text == "before" {
			t.Logf("UDP: %s", c.line())
		}
		c.want("received " + text)
	}
	conn.Close()
	c.finish()
	w.unchanged(was, neighborLines)
}

func init() { roles["late UDP"] = lateUDP }

func lateUDP() error {
	q, err := zctap.Open(zctap.Config{Engine: zctap.User, Interface: "veth0", Buffers: 1024, XDP: &zctap.XDPConfig{}})
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgid(nobody), syscall.Setuid(nobody), noCapabilities()); err != nil {
		return err
	}
	ln, err := q.Listen("tcp4", fmt.Sprint(":", receiverPort))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := ln.AcceptZC()
	if err != nil {
		return err
	}
	b := make([]byte, 16)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	_, err = q.ListenPacket("udp4", ":0")
	mode, why := q.XDPMode()
	switch {
	case err == nil && mode != zctap.XDPCopy, err != nil && mode != zctap.XDPGeneric:
		return fmt.Errorf("%v, and mode %s", err, mode)
	case err != nil && (!errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "Config.XDP.Mode")):
		return err
	}
	fmt.Printf("%v; mode %s, because %v\n", err, mode, strings.ReplaceAll(fmt.Sprint(why), "\n", "; "))
	fmt.Printf("received %s\n", b[:n])
	if n, err = c.Read(b); err != nil {
		return err
	}
	fmt.Printf("received %s\n", b[:n])
	return q.Close()
}
