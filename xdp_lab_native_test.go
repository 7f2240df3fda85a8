//go:build linux

package zctap_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/nic"
	"github.com/zctap/zctap/internal/pattern"
)

// These tests run on the lab's NIC with its queues, offloads and buffers as its driver
// wants them for XDP (lab/scenario/xdp_test.go).

// TestLabXDPZeroCopy: engine user receives TCP and UDP by AF_XDP in zero-copy mode. The
// kernel says that it is that, and the page frames of memory in which the payload is
// read are such as the NIC wrote. What it wrote is our memory only: the kernel's own
// packets come that way, too, and go on to it.
func TestLabXDPZeroCopy(t *testing.T) {
	newNativeLab(t).run(zctap.XDPZeroCopy)
}

// TestLabXDPNative: the same in copy mode, in the driver: the NIC writes into the
// driver's memory, and nothing of ours.
func TestLabXDPNative(t *testing.T) {
	newNativeLab(t).run(zctap.XDPCopy)
}

// A nativeLab is the lab's NIC, for a driver that has XDP.
type nativeLab struct {
	*world
	iface  string
	own    netip.Addr
	memory []byte // the region
	q      *zctap.Queue
	pat    *pattern.Pattern
	pages  *pageFrames
	read   map[uint64]bool // frames of the pages that payload was read in
	got    uint64          // bytes of payload
}

// newLabWorld is a world with the lab's NIC in ours.
func newLabWorld(t testing.TB) (w *world, iface string) {
	t.Helper()
	env := needGuest(t, "ZCTAP_LAB_NIC", "ZCTAP_LAB_PEER")
	here, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	peer, err := netns.Open(env[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return &world{TB: t, ours: here, theirs: peer, journals: filepath.Join(t.TempDir(), "journals")}, env[0]
}

func newNativeLab(t *testing.T) *nativeLab {
	t.Helper()
	x := &nativeLab{pat: pattern.New(patternSeed), read: map[uint64]bool{}}
	x.world, x.iface = newLabWorld(t)
	x.own = addrOf(t, x.iface)
	var err error
	if x.memory, err = unix.Mmap(-1, 0, 32<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		t.Fatal(err)
	}
	x.pages = newPageFrames(t)
	return x
}

func (x *nativeLab) run(mode string) {
	before := x.state()
	x.wantTalk("before")

	stop := x.flood()
	var err error
	x.q, err = zctap.Open(zctap.Config{
		Engine: zctap.User, Interface: x.iface, Memory: x.memory,
		XDP: &zctap.XDPConfig{Mode: mode, JournalDir: x.journals},
	})
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { x.q.Close() })
	stop()
	if got, why := x.q.XDPMode(); got != mode || why != nil {
		x.Errorf("mode %q, %v; want %q", got, why, mode)
	}
	zeroCopy := mode == zctap.XDPZeroCopy
	sent := x.sentByXDP()
	var kernel sync.WaitGroup
	kernel.Go(func() { x.wantTalk("meanwhile") })
	x.stream()
	x.datagrams()
	kernel.Wait()
	if n := x.sentByXDP() - sent; (n > 0) != zeroCopy {
		x.Errorf("the NIC sent %d frames of the queues that the driver has for XDP", n)
	}
	x.wantCounted()
	x.wantFrames(zeroCopy)

	stop = x.flood()
	x.close(x.q)
	stop()
	if after := x.state(); after != before {
		x.Errorf("the interface is not as before:\n%s", diff(before, after))
	}
	x.wantTalk("after")
}

// sendParts sends a stream, and waits after each part to be told that it has been
// received.
func (x *nativeLab) sendParts(c net.Conn, size, part int64) error {
	b := make([]byte, part)
	for at := int64(0); at < size; at += part {
		x.pat.Fill(b, at)
		if _, err := c.Write(b); err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		if _, err := io.ReadFull(c, b[:1]); err != nil {
			return fmt.Errorf("after %d bytes: no acknowledgment: %w", at+part, err)
		}
	}
	return nil
}

// stream receives a stream, and sends a shorter one back. There is never so much of it
// on its way that buffers would be scarce, and short segments be put together by a copy.
func (x *nativeLab) stream() {
	x.Helper()
	const size, part, reply = 16 << 20, 1 << 18, 1 << 20
	ln := x.listen(x.q)
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	c := x.dial(x.theirs, net.JoinHostPort(x.own.String(), port))
	z, err := ln.AcceptZC()
	if err != nil {
		x.Fatal(err)
	}
	defer z.Close()
	if err := z.SetDeadline(time.Now().Add(2 * guestPatience)); err != nil {
		x.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- x.sendParts(c, size, part) }()
	iovs := make([]zctap.Iov, 64)
	for got := int64(0); got < size; {
		n, err := z.RecvZC(iovs)
		if err != nil {
			x.Fatalf("after %d of %d bytes: %v", got, size, err)
		}
		for i := range iovs[:n] {
			b := iovs[i].Bytes()
			x.take(b, got)
			if got += int64(len(b)); got%part == 0 {
				if _, err := z.Write([]byte{1}); err != nil {
					x.Fatal(err)
				}
			}
		}
		x.release(iovs[:n])
	}
	if err := <-done; err != nil {
		x.Fatal(err)
	}

	go func() {
		_, err := io.Copy(z, x.pat.Reader(reply))
		done <- err
	}()
	back := make([]byte, reply)
	if _, err := io.ReadFull(c, back); err != nil {
		x.Fatal(err)
	}
	if bad := x.pat.Mismatches(back, 0); bad != 0 {
		x.Errorf("%d bytes that we have sent are wrong", bad)
	}
	if err := <-done; err != nil {
		x.Error(err)
	}
}

// datagrams receives datagrams of all sizes that a frame holds, and acknowledges each
// batch with one.
func (x *nativeLab) datagrams() {
	x.Helper()
	const count, batch, longest = 512, 16, 1472
	p, err := x.q.ListenPacket("udp", ":0")
	if err != nil {
		x.Fatal(err)
	}
	defer p.Close()
	if err := p.SetDeadline(time.Now().Add(2 * guestPatience)); err != nil {
		x.Fatal(err)
	}
	size := func(i int) int { return 1 + i*(longest-1)/(count-1) }
	var c net.Conn
	x.in(x.theirs, func() (err error) {
		_, port, _ := net.SplitHostPort(p.LocalAddr().String())
		c, err = net.Dial("udp", net.JoinHostPort(x.own.String(), port))
		return err
	})
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			b := make([]byte, longest)
			for i := range count {
				x.pat.Fill(b[:size(i)], int64(i)*longest)
				if _, err := c.Write(b[:size(i)]); err != nil {
					return err
				}
				if i%batch != batch-1 {
					continue
				}
				if err := c.SetReadDeadline(time.Now().Add(2 * guestPatience)); err != nil {
					return err
				}
				if _, err := c.Read(b[:1]); err != nil {
					return fmt.Errorf("no acknowledgment after %d datagrams: %w", i+1, err)
				}
			}
			return nil
		}()
	}()
	iovs, dgrams := make([]zctap.Iov, 32), make([]zctap.Datagram, 32)
	for i := 0; i < count; {
		n, err := p.RecvFromZC(iovs, dgrams)
		if err != nil {
			x.Fatalf("after %d of %d datagrams: %v", i, count, err)
		}
		at := 0
		for _, d := range dgrams[:n] {
			if d.Len != size(i) || d.Iovs != 1 {
				x.Fatalf("datagram %d of %d bytes came with %d in %d iovs", i, size(i), d.Len, d.Iovs)
			}
			x.take(iovs[at].Bytes(), int64(i)*longest)
			at += d.Iovs
			if i++; i%batch == 0 {
				if _, err := p.WriteToAddrPort([]byte{1}, d.Src); err != nil {
					x.Fatal(err)
				}
			}
		}
		x.release(iovs[:at])
	}
	if err := <-done; err != nil {
		x.Error(err)
	}
}

// take checks payload, and notes where it lies.
func (x *nativeLab) take(b []byte, at int64) {
	x.Helper()
	if bad := x.pat.Mismatches(b, at); bad != 0 {
		x.Errorf("%d of %d bytes are wrong at %d", bad, len(b), at)
	}
	x.got += uint64(len(b))
	for _, f := range x.pages.of(b) {
		x.read[f] = true
	}
}

func (x *nativeLab) release(iovs []zctap.Iov) {
	x.Helper()
	if n, err := x.q.Release(iovs); n != len(iovs) || err != nil {
		x.Errorf("released %d of %d iovs: %v", n, len(iovs), err)
	}
}

// wantCounted checks that each byte counts as not copied by us.
func (x *nativeLab) wantCounted() {
	x.Helper()
	s := x.q.Stats()
	x.Logf("%d bytes, in %d page frames; events %v", x.got, len(x.read), s.Events)
	if s.ZeroCopyBytes != x.got || s.CopiedBytes != 0 || len(s.Drops) != 0 {
		x.Errorf("of %d bytes %d count as not copied and %d as copied; drops %v", x.got, s.ZeroCopyBytes, s.CopiedBytes, s.Drops)
	}
}

// wantFrames compares the page frames that the NIC wrote to with those that were read,
// and with the region's.
func (x *nativeLab) wantFrames(zeroCopy bool) {
	x.Helper()
	var queues [][]uint64
	if err := json.Unmarshal([]byte(tell(x, "frames")), &queues); err != nil {
		x.Fatal(err)
	}
	region := map[uint64]bool{}
	for _, f := range x.pages.of(x.memory) {
		region[f] = true
	}
	written, foreign := map[uint64]bool{}, 0
	events := x.q.Stats().Events
	for q, frames := range queues {
		if events[fmt.Sprintf("xdp-queue-%d-frames", q)] == 0 {
			continue // what the NIC wrote there may be from before
		}
		for _, f := range frames {
			written[f] = true
			if !region[f] {
				foreign++
			}
		}
	}
	match := 0
	for f := range x.read {
		if written[f] {
			match++
		}
	}
	x.Logf("page frames: the NIC wrote %d, of which %d are not ours, and %d of the %d that were read", len(written), foreign, match, len(x.read))
	switch {
	case len(written) == 0 || len(x.read) == 0:
		x.Error("there are none to compare")
	case zeroCopy && (match != len(x.read) || foreign != 0):
		x.Error("not all were written by the NIC, or it wrote to memory that is not ours")
	case !zeroCopy && (match != 0 || foreign != len(written)):
		x.Error("the NIC wrote to our memory, which the kernel is to copy to")
	}
}

// sentByXDP is how many frames the NIC has sent of the transmit queues that the driver
// makes for XDP: those behind its own.
func (x *nativeLab) sentByXDP() (n int) {
	x.Helper()
	var queues []struct{ Frames int }
	if err := json.Unmarshal([]byte(tell(x, "sent")), &queues); err != nil {
		x.Fatal(err)
	}
	for _, q := range queues[x.inspect().Channels.TX:] {
		n += q.Frames
	}
	return n
}

func (x *nativeLab) inspect() *nic.State {
	x.Helper()
	s, err := nic.Inspect(x.iface)
	if err != nil {
		x.Fatal(err)
	}
	return s
}

// state is how the interface is set, line by line.
func (x *nativeLab) state() string {
	x.Helper()
	s := x.inspect()
	for i := range s.Queues {
		s.Queues[i].NAPI = 0 // a new one each time that the driver makes its rings
	}
	i, err := net.InterfaceByName(x.iface)
	if err != nil {
		x.Fatal(err)
	}
	b, err := json.MarshalIndent(struct {
		*nic.State
		*net.Interface
	}{s, i}, "", " ")
	if err != nil {
		x.Fatal(err)
	}
	return string(b)
}

// talk has the kernels at both ends of the wire exchange datagrams.
func (x *nativeLab) talk() error {
	var server *net.UDPConn
	if err := x.ours.Do(func() (err error) {
		server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(x.own, 0)))
		return err
	}); err != nil {
		return err
	}
	defer server.Close()
	var client net.Conn
	if err := x.theirs.Do(func() (err error) { client, err = net.Dial("udp4", server.LocalAddr().String()); return err }); err != nil {
		return err
	}
	defer client.Close()
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(b[:n], from) // what is lost is asked for again
		}
	}()
	word, back := []byte("between kernels"), make([]byte, 64)
	for rounds, end := 0, time.Now().Add(guestPatience); rounds < 100; {
		if _, err := client.Write(word); err != nil {
			return err
		}
		if err := client.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		n, err := client.Read(back)
		switch {
		case err == nil && bytes.Equal(back[:n], word):
			rounds++
		case err == nil || time.Now().After(end):
			return fmt.Errorf("%q came back: %v", back[:n], err)
		}
	}
	return nil
}

// flood has the peer send datagrams to nobody, all the time, until it is stopped: packets
// for the kernel, which have to do no harm while the driver makes its rings anew: without
// fragileRings the machine goes down.
func (x *nativeLab) flood() (stop func()) {
	x.Helper()
	var c net.Conn
	x.in(x.theirs, func() (err error) { c, err = net.Dial("udp4", net.JoinHostPort(x.own.String(), "9")); return err })
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1200)
		for {
			select {
			case <-ended:
				return
			default:
				_, _ = c.Write(b) // ICMP says that nobody listens
				time.Sleep(200 * time.Microsecond)
			}
		}
	})
	return func() { close(ended); wg.Wait(); c.Close() }
}

// wantTalk is talk, which has to work.
func (x *nativeLab) wantTalk(when string) {
	x.Helper()
	if err := x.talk(); err != nil {
		x.Errorf("%s: the kernel's own traffic: %v", when, err)
	}
}

// TestLabConformanceXDP runs the conformance suite in zero-copy mode.
func TestLabConformanceXDP(t *testing.T) {
	w, iface := newLabWorld(t)
	own := addrOf(t, iface)
	var peer netip.Addr
	w.in(w.theirs, func() error { peer = addrOf(t, ""); return nil })
	open := func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
		c.Engine, c.Interface, c.XDP = zctap.User, iface, &zctap.XDPConfig{Mode: zctap.XDPZeroCopy, JournalDir: w.journals}
		q, err := zctap.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return q, enginetest.KernelPeer{Queue: own, Own: peer, In: w.theirs.Do}
	}
	enginetest.Run(t, enginetest.Setup{Open: open, Conns: 100, Refusals: true})
}
