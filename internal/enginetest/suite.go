// Package enginetest is the conformance suite that every engine passes: the one
// contract of the root API, exercised from the other end of a real connection.
// An engine's test calls Run with a way to open a queue and a peer to talk to.
package enginetest

import (
	"io"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/pattern"
)

// A Peer is what the queue under test talks to, over whatever wire joins them.
type Peer interface {
	// Dial connects to the queue.
	Dial(network, address string) (net.Conn, error)
	// Listen listens on the peer's own address, on a free port.
	Listen(network string) (net.Listener, error)
	// ListenPacket makes a UDP socket on the peer's own address.
	ListenPacket(network string) (net.PacketConn, error)
	// Host is the address of the queue under test, as the peer dials it.
	Host() string
	// SendSegments sends b on one of its UDP sockets as datagrams of size bytes,
	// in one piece where it can.
	SendSegments(c net.PacketConn, b []byte, size int, to netip.AddrPort) error
	// SetTrafficClass sets DSCP and ECN of what one of its UDP sockets sends.
	SetTrafficClass(c net.PacketConn, tc uint8) error
}

// A Setup is one engine to test.
type Setup struct {
	// Open opens a queue and its peer, and arranges for the peer to be closed
	// with the test. The suite closes the queue.
	Open func(t testing.TB, c zctap.Config) (*zctap.Queue, Peer)
	// Conns bounds the cases with very many connections; 0: 1,000.
	Conns int
	// Copies: every byte counts as copied. Otherwise bulk payload counts as
	// zero-copy, but for what shares memory with headers (under 0.1 %).
	Copies bool
	// Interface is Config.Interface for joining multicast groups, where an engine
	// has no interface of its own.
	Interface string
	// AnyGroup: the kernel chooses where groups are joined, perhaps where the peer
	// is not.
	AnyGroup bool
	// NoSegments: what SendSegments sends loses its boundaries before the engine
	// gets it.
	NoSegments bool
	// Merges: what SendSegments sends reaches the engine in one piece, for certain.
	Merges bool
	// Break makes the engine of the queue that is open fail; nil: nothing can.
	Break func(t testing.TB)
	// Handled: a handler takes what is told when the engine fails.
	Handled bool
	// Rings is the engine's threads; 0: one.
	Rings int
	// Refusals: ICMP errors reach the engine's UDP sockets.
	Refusals bool
}

// Run runs every case of the suite.
func Run(t *testing.T, s Setup) {
	if s.Conns == 0 {
		s.Conns = 1000
	}
	for _, c := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Transfer", testTransfer},
		{"Dial", testDial},
		{"DialRefused", testDialRefused},
		{"IovCounts", testIovCounts},
		{"ReadLength", testReadLength},
		{"PartialConsumption", testPartialConsumption},
		{"BadArguments", testBadArguments},
		{"ReadAndRecvMixed", testMixed},
		{"WriteTo", testWriteTo},
		{"EOFOnceAndLast", testEOF},
		{"HalfClose", testHalfClose},
		{"Reset", testReset},
		{"Deadlines", testDeadlines},
		{"CloseWhileBlocked", testCloseWhileBlocked},
		{"ReleaseElsewhere", testReleaseElsewhere},
		{"ReleaseRefused", testReleaseRefused},
		{"ViewsNeverChange", testViewsNeverChange},
		{"Exhaustion", testExhaustion},
		{"SlowReader", testSlowReader},
		{"SmallMessages", testSmallMessages},
		{"Completions", testCompletions},
		{"CompletionEnds", testCompletionEnds},
		{"ArmedExcludes", testArmedExcludes},
		{"Disarm", testDisarm},
		{"Notices", testNotices},
		{"ShortConnections", testShortConnections},
		{"Datagrams", testDatagrams},
		{"DatagramTruncation", testDatagramTruncation},
		{"DatagramHeaders", testDatagramHeaders},
		{"DatagramSegments", testDatagramSegments},
		{"DatagramErrors", testDatagramErrors},
		{"DatagramConnected", testDatagramConnected},
		{"DatagramRefused", testDatagramRefused},
		{"DatagramGroups", testDatagramGroups},
		{"DatagramFlood", testDatagramFlood},
		{"DatagramCompletions", testDatagramCompletions},
		{"CloseWithDataQueued", testCloseWithDataQueued},
		{"HandlerEcho", testHandlerEcho},
		{"HandlerReleases", testHandlerReleases},
		{"HandlerEnds", testHandlerEnds},
		{"HandlerCalls", testHandlerCalls},
		{"HandlerClosesToo", testHandlerClosesToo},
		{"HandlerWrites", testHandlerWrites},
		{"HandlerInTurn", testHandlerInTurn},
		{"HandlerClose", testHandlerClose},
		{"HandlerDatagrams", testHandlerDatagrams},
		{"Failure", testFailure}, // the last: it may leave no wire
	} {
		t.Run(c.name, func(t *testing.T) { c.run(&fixture{T: t, Setup: s}) })
	}
}

// patience bounds every wait of the suite, each by itself: far beyond what a slow machine
// needs for one, so that only a hang runs into it. What takes many of them may take as long as it needs.
const patience = 60 * time.Second

// A fixture is one case's world: its queue and peer, opened by open, and the
// check at its end that nothing leaked.
type fixture struct {
	*testing.T
	Setup
	q    *zctap.Queue
	peer Peer
	pat  *pattern.Pattern
}

// open opens the queue; its end checks that no buffer and no region is left.
func (f *fixture) open(c zctap.Config) {
	f.Helper()
	f.pat = pattern.New(uint64(len(f.Name())))
	before := buf.LiveRegions()
	f.q, f.peer = f.Open(f, c)
	f.Cleanup(func() {
		// Also after the engine has failed: its calls tell that.
		if err := f.q.Close(); err != nil {
			f.Errorf("close of the queue: %v", err)
		}
		if n := f.q.Leaked(); n != 0 {
			f.Errorf("%d buffers leaked", n)
		}
		// The peer may have a queue of its own, closed later.
		if n := buf.LiveRegions(); n > before+1 {
			f.Errorf("%d regions live, %d before", n, before)
		}
	})
}

// connect returns a connection accepted by the queue and the peer's end of it.
func (f *fixture) connect() (*zctap.Conn, net.Conn) {
	f.Helper()
	ln := f.listen()
	defer ln.Close()
	p := f.dialQueue(ln)
	c := f.accept(ln)
	f.Cleanup(func() { c.Close() })
	f.ok(c.SetDeadline(time.Now().Add(patience)))
	return c, p
}

func (f *fixture) listen() *zctap.Listener {
	f.Helper()
	ln, err := f.q.Listen("tcp", ":0")
	f.ok(err)
	f.Cleanup(func() { ln.Close() })
	f.ok(ln.SetDeadline(time.Now().Add(patience)))
	return ln
}

// accept takes the next connection, for which it waits as long as for the one before.
func (f *fixture) accept(ln *zctap.Listener) *zctap.Conn {
	f.Helper()
	f.ok(ln.SetDeadline(time.Now().Add(patience)))
	c, err := ln.AcceptZC()
	f.ok(err)
	return c
}

// dialQueue connects the peer to the queue's listener.
func (f *fixture) dialQueue(ln *zctap.Listener) net.Conn {
	f.Helper()
	p, err := f.peer.Dial("tcp", f.addressOf(ln.Addr()))
	f.ok(err)
	f.Cleanup(func() { p.Close() })
	f.ok(p.SetDeadline(time.Now().Add(patience)))
	return p
}

// addressOf is where the peer reaches a socket of the queue that listens on all
// addresses.
func (f *fixture) addressOf(a net.Addr) string {
	_, port, err := net.SplitHostPort(a.String())
	f.ok(err)
	return net.JoinHostPort(f.peer.Host(), port)
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// send writes the pattern's first n bytes in the background, and then half
// closes; the returned function waits for it.
func (f *fixture) send(w net.Conn, n int64) (wait func()) { return f.sendFrom(w, f.pat.Reader(n)) }

// sendFrom is send of what r has.
func (f *fixture) sendFrom(w net.Conn, r io.Reader) (wait func()) {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(patient{w}, r)
		if err == nil {
			err = closeWrite(w)
		} else {
			w.Close() // the end, for whoever would wait for it
		}
		done <- err
	}()
	return func() {
		f.Helper()
		if err := <-done; err != nil {
			f.Errorf("sender: %v", err)
		}
	}
}

// writerOnly hides ReadFrom, so that every engine's sender is Write.
type writerOnly struct{ io.Writer }

// patient is an end of a connection that hides ReadFrom, too, and has each Read and Write wait
// as long as the one before: a machine that is busy may take a minute and more for all of them.
type patient struct{ c net.Conn }

func (p patient) Read(b []byte) (int, error) {
	if err := p.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return p.c.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return p.c.Write(b)
}

func closeWrite(c net.Conn) error {
	return c.(interface{ CloseWrite() error }).CloseWrite()
}

// receive takes everything until the end with views of up to k iovs, checks it
// against the pattern from off on, and returns the offset of the end. What bounds its
// waits begins with it, not with the connection.
func (f *fixture) receive(c *zctap.Conn, k int, off int64) int64 {
	f.Helper()
	iovs := make([]zctap.Iov, k)
	for bounded := (time.Time{}); ; {
		if now := time.Now(); now.Sub(bounded) > patience/2 {
			bounded = now
			f.ok(c.SetReadDeadline(now.Add(patience)))
		}
		n, err := c.RecvZC(iovs)
		if err == io.EOF {
			return off
		}
		f.ok(err)
		off = f.check(iovs[:n], off)
		f.release(iovs[:n])
	}
}

// recv receives up to limit bytes of c, for which it waits as long as for those before.
func (f *fixture) recv(c *zctap.Conn, iovs []zctap.Iov, limit int) (int, error) {
	f.Helper()
	f.ok(c.SetReadDeadline(time.Now().Add(patience)))
	return c.RecvZCMax(iovs, limit)
}

// some receives what there is: at least one iov of c.
func (f *fixture) some(c *zctap.Conn, iovs []zctap.Iov) int {
	f.Helper()
	n, err := f.recv(c, iovs, math.MaxInt)
	f.ok(err)
	return n
}

// waitFor takes completions, for which it waits as long as for those before.
func (f *fixture) waitFor(cqes []zctap.Completion) (int, error) {
	f.q.SetWaitDeadline(time.Now().Add(patience))
	return f.q.Wait(cqes)
}

// check compares iovs with the pattern from off on and returns the offset
// behind them.
func (f *fixture) check(iovs []zctap.Iov, off int64) int64 {
	f.Helper()
	for i := range iovs {
		b := iovs[i].Bytes()
		if len(b) == 0 || cap(b) != len(b) {
			f.Fatalf("a view of len %d and cap %d", len(b), cap(b))
		}
		if bad := f.pat.Mismatches(b, off); bad != 0 {
			f.Fatalf("%d of %d bytes are wrong at %d", bad, len(b), off)
		}
		off += int64(len(b))
	}
	return off
}

func (f *fixture) release(iovs []zctap.Iov) {
	f.Helper()
	if n, err := f.q.Release(iovs); n != len(iovs) || err != nil {
		f.Fatalf("released %d of %d iovs: %v", n, len(iovs), err)
	}
}

// eventually waits until cond holds.
func (f *fixture) eventually(what string, cond func() bool) {
	f.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("still not: %s", what)
		}
	}
}
