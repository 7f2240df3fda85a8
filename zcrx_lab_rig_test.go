//go:build linux

package zctap_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
)

// These tests run on the lab's NIC. The host, which plays it, is told of events, and
// answers (lab/scenario/rig_test.go).

// guestPatience bounds every wait in the guest, which is slow: each by itself. What takes many of them may
// take as long as it needs.
const guestPatience = 60 * time.Second

const patternSeed = 1

// A guest is a queue on the lab's NIC.
type guest struct {
	*testing.T
	q   *zctap.Queue
	own netip.Addr // of the NIC
	ns  *netns.NS  // of the peer
	pat *pattern.Pattern
}

// needNIC ends a test that does not run in a lab machine with a NIC. It returns
// the NIC's name and that of the namespace at the other end of its wire.
func needNIC(t *testing.T) (iface, peer string) {
	t.Helper()
	env := needGuest(t, "ZCTAP_LAB_NIC", "ZCTAP_LAB_PEER")
	return env[0], env[1]
}

// newGuest opens a queue. At the test's end it has to have all of its buffers.
func newGuest(t *testing.T, c zctap.Config) *guest {
	t.Helper()
	g := openGuest(t, c)
	t.Cleanup(func() {
		s := g.q.Stats()
		if err := g.q.Close(); err != nil {
			g.Errorf("close of the queue: %v", err)
		}
		if n := g.q.Leaked(); n != 0 {
			g.Errorf("%d buffers leaked", n)
		}
		if len(s.Drops) != 0 {
			g.Errorf("drops: %v", s.Drops)
		}
		g.Logf("%d bytes not copied, %d copied, events %v", s.ZeroCopyBytes, s.CopiedBytes, s.Events)
	})
	return g
}

// openGuest opens a queue, which the test closes.
func openGuest(t *testing.T, c zctap.Config) *guest {
	t.Helper()
	iface, peer := needNIC(t)
	ns, err := netns.Open(peer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	g := &guest{T: t, own: addrOf(t, iface), ns: ns, pat: pattern.New(patternSeed)}
	c.Engine, c.Interface = zctap.ZCRX, iface
	g.q, err = zctap.Open(c)
	g.ok(err)
	return g
}

func (g *guest) ok(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// tell tells the host of an event, and returns its answer.
func tell(t testing.TB, event string, data ...string) string {
	t.Helper()
	out, err := exec.Command("lab-event", append([]string{event}, data...)...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("event %s: %s", event, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// drops is how many frames the NIC has dropped so far for want of buffers.
func (g *guest) drops() int {
	g.Helper()
	var queues []struct {
		DropNoBuffers int `json:"drop_no_buffers"`
	}
	g.ok(json.Unmarshal([]byte(tell(g, "queues")), &queues))
	sum := 0
	for _, q := range queues {
		sum += q.DropNoBuffers
	}
	return sum
}

// wantFewDrops checks how many frames the NIC has dropped for want of buffers since
// there were before: less than one ring's worth. A NIC whose queue has none drops
// everything, and again when it is sent again.
func (g *guest) wantFewDrops(before int) {
	g.Helper()
	if n := g.drops() - before; n > 1000 {
		g.Errorf("the NIC dropped %d frames for want of buffers", n)
	}
}

// A flow is a connection whose peer sends a piece of the pattern.
type flow struct {
	*guest
	c    *zctap.Conn
	p    net.Conn
	at   int64 // where its piece begins
	size int64
	got  int64 // bytes received
	held []zctap.Iov
	wg   sync.WaitGroup
	err  error // of the sender
}

// flows makes n connections, which have been accepted when it returns.
func (g *guest) flows(n int, size int64) []*flow {
	g.Helper()
	ln, err := g.q.Listen("tcp", ":0")
	g.ok(err)
	defer ln.Close()
	return g.flowsTo(ln, n, size)
}

// flowsTo is flows with a listener that stays.
func (g *guest) flowsTo(ln *zctap.Listener, n int, size int64) []*flow {
	g.Helper()
	g.ok(ln.SetDeadline(time.Now().Add(guestPatience)))
	port := ln.Addr().(*net.TCPAddr).Port
	at := netip.AddrPortFrom(g.own, uint16(port)).String()
	all := make([]*flow, n)
	byPeer := make(map[string]*flow)
	g.ok(g.ns.Do(func() error {
		for i := range all {
			p, err := net.DialTimeout("tcp", at, guestPatience/2)
			if err != nil {
				return err
			}
			g.Cleanup(func() { p.Close() })
			all[i] = &flow{guest: g, p: p, at: int64(i) << 30, size: size}
			byPeer[p.LocalAddr().String()] = all[i]
		}
		return nil
	}))
	for range all {
		c, err := ln.AcceptZC()
		g.ok(err)
		g.Cleanup(func() { c.Close() })
		f := byPeer[c.RemoteAddr().String()]
		if f == nil {
			g.Fatalf("accepted %s, which nobody has connected", c.RemoteAddr())
		}
		f.c = c
	}
	return all
}

// send has the peer send all of the flow's bytes.
func (f *flow) send() {
	f.wg.Go(func() { f.err = sendPiece(f.p, f.pat, f.at, f.size) })
}

// sendPiece sends a piece of a pattern, and then half closes.
func sendPiece(p net.Conn, pat *pattern.Pattern, at, size int64) error {
	b := make([]byte, min(size, 64<<10))
	for off := int64(0); off < size; off += int64(len(b)) {
		b = b[:min(int64(len(b)), size-off)]
		pat.Fill(b, at+off)
		if err := p.SetWriteDeadline(time.Now().Add(2 * guestPatience)); err != nil {
			return err
		}
		if _, err := p.Write(b); err != nil {
			return fmt.Errorf("after %d bytes: %w", off, err)
		}
	}
	return p.(*net.TCPConn).CloseWrite()
}

// sent waits for the sender.
func (f *flow) sent() {
	f.wg.Wait()
	if f.err != nil {
		f.Errorf("sender: %v", f.err)
	}
}

// check compares views with what was sent.
func (f *flow) check(iovs []zctap.Iov) {
	for i := range iovs {
		b := iovs[i].Bytes()
		if bad := f.pat.Mismatches(b, f.at+f.got); bad != 0 {
			f.Errorf("%d of %d bytes are wrong at %d", bad, len(b), f.got)
		}
		f.got += int64(len(b))
	}
}

func (g *guest) release(iovs []zctap.Iov) {
	if n, err := g.q.Release(iovs); n != len(iovs) || err != nil {
		g.Errorf("released %d of %d iovs: %v", n, len(iovs), err)
	}
}

// hoard takes what comes and keeps it, until nothing comes for a second.
func (f *flow) hoard() {
	f.Helper()
	for wait := guestPatience; ; wait = time.Second {
		f.ok(f.c.SetReadDeadline(time.Now().Add(wait)))
		iovs := make([]zctap.Iov, 64)
		n, err := f.c.RecvZC(iovs)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		f.ok(err)
		f.held = append(f.held, iovs[:n]...)
	}
}

// A patientReader is a connection of which each Read waits as long as the one before.
type patientReader struct{ c net.Conn }

func (p patientReader) Read(b []byte) (int, error) {
	if err := p.c.SetReadDeadline(time.Now().Add(guestPatience)); err != nil {
		return 0, err
	}
	return p.c.Read(b)
}

// recv takes what comes next.
func (f *flow) recv(iovs []zctap.Iov) (int, error) {
	if err := f.c.SetReadDeadline(time.Now().Add(2 * guestPatience)); err != nil {
		return 0, err
	}
	return f.c.RecvZC(iovs)
}

// receive takes the rest of the flow.
func (f *flow) receive() {
	iovs := make([]zctap.Iov, 64)
	for {
		n, err := f.recv(iovs)
		if err == io.EOF {
			break
		}
		if err != nil {
			f.Errorf("after %d of %d bytes: %v", f.got, f.size, err)
			return
		}
		f.check(iovs[:n])
		f.release(iovs[:n])
	}
	if f.got != f.size {
		f.Errorf("received %d of %d bytes", f.got, f.size)
	}
}

// free checks that, when all was released, all buffers are free.
func (g *guest) free() {
	g.Helper()
	for end := time.Now().Add(guestPatience); ; time.Sleep(10 * time.Millisecond) {
		s := g.q.Stats()
		if s.FreeBuffers == s.Buffers {
			return
		}
		if time.Now().After(end) {
			g.Errorf("%d of %d buffers are free", s.FreeBuffers, s.Buffers)
			return
		}
	}
}

// wantCounted checks that each byte was counted once, and none as not copied
// that a view says was copied.
func (g *guest) wantCounted(flows []*flow, copied int64) {
	g.Helper()
	var sum uint64
	for _, f := range flows {
		sum += uint64(f.got)
	}
	s := g.q.Stats()
	if s.ZeroCopyBytes+s.CopiedBytes != sum || s.CopiedBytes < uint64(copied) {
		g.Errorf("of %d bytes %d count as not copied and %d as copied; views of %d bytes say that they are", sum, s.ZeroCopyBytes, s.CopiedBytes, copied)
	}
}
