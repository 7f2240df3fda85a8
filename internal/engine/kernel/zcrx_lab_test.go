//go:build linux

package kernel

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests named TestLab run on the lab's kernel, which has all of zcrx, and
// must have: there nothing is skipped. Elsewhere they run if the kernel can.

// needNoDevice ends the test where the kernel can't do without a device.
func needNoDevice(t *testing.T) {
	t.Helper()
	if err := noDeviceWorks(); err != nil {
		if inLab() {
			t.Fatal(err)
		}
		t.Skipf("runs in the lab: %v", err)
	}
}

// TestLabNoDevice runs the tests that every backend has to pass on the kernel's
// own zcrx.
func TestLabNoDevice(t *testing.T) {
	needNoDevice(t)
	onlyNoDevice = true
	defer func() { onlyNoDevice = false }()
	for _, tc := range []struct {
		name string
		test func(*testing.T)
	}{
		{"BothWays", TestTransferBothWays},
		{"Shapes", TestRegionShapes},
		{"DialListen", TestDialListen},
		{"Many", TestManyConnections},
		{"Read", TestRead},
		{"HalfClose", TestHalfClose},
		{"Reset", TestReset},
		{"ResetWhileWriting", TestResetWhileWriting},
		{"CloseUnread", TestCloseWithUnreadData},
		{"AfterClose", TestAfterClose},
		{"AfterEngineClose", TestAfterEngineClose},
		{"CloseWhileBlocked", TestCloseWhileBlocked},
		{"CloseInFullFlight", TestCloseInFullFlight},
		{"Deadlines", TestDeadlines},
		{"Exhaustion", TestExhaustionAndRecovery},
		{"SlowReader", TestSlowReader},
		{"Episode", TestEpisode},
		{"Sleeps", TestSleeps},
		{"Allocation", TestNoAllocationPerReceive},
		{"Datagrams", TestDatagrams},
		{"Backlog", TestBacklogBound},
		{"ListenerClose", TestListenerClose},
		{"QueueFull", TestZCRXQueueFull},
		{"CreditAndEnd", TestZCRXCreditAndEnd},
		{"IdleCredits", TestZCRXIdleCredits},
		{"RecallsEnd", TestZCRXRecallsEnd},
		{"ReturnsWake", TestZCRXReturnsWakeTheLoop},
		{"Areas", TestZCRXAreas},
		{"OneEnterPerBatch", TestZCRXOneEnterPerBatch},
	} {
		t.Run(tc.name, tc.test)
	}
}

// TestLabRefillRing: a refill ring of one entry, in the kernel's memory and in
// ours, while the application returns hundreds of buffers at once.
func TestLabRefillRing(t *testing.T) {
	needNoDevice(t)
	for _, ours := range []bool{false, true} {
		w := newWorld(t, noDeviceVariant("zcrx", ZCRXOptions{RefillEntries: 1, RefillMemory: ours}), options{})
		c, p := w.connect()
		const size = 4 << 20
		wait := w.sender(p, size)
		off := int64(0)
		for range 3 {
			held := w.hoard(c, 1)
			off = w.check(held, off)
			w.giveBack(held)
		}
		if got, _ := w.receive(c, off); got != size {
			w.Errorf("received %d of %d", got, size)
		}
		wait()
	}
}

// TestLabThousands: 10,000 connections on one ring, all of which send, are
// received and end.
func TestLabThousands(t *testing.T) {
	needNoDevice(t)
	const conns, each = 10_000, 2000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*conns+100 {
		limit.Cur, limit.Max = 2*conns+1000, max(limit.Max, 2*conns+1000)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatalf("descriptors for %d connections: %v", conns, err)
		}
	}
	w := newWorld(t, noDeviceVariant("zcrx", ZCRXOptions{}), options{buffers: 4096})
	n := w.listen(0)
	n.Backlog().Arm(w.cq, 0)
	w.cq.SetDeadline(deadlineNow())
	var peers, connected sync.WaitGroup
	connected.Add(conns)
	start := make(chan struct{})
	go func() {
		connected.Wait()
		close(start)
	}()
	for i := range 50 {
		peers.Go(func() {
			var all []*net.TCPConn
			for range conns / 50 {
				// Ports of one address pair are fewer than twice the connections.
				p, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}, net.TCPAddrFromAddrPort(n.Addr()))
				if err != nil {
					w.Errorf("dial: %v", err)
					return
				}
				w.Cleanup(func() { p.Close() })
				connected.Done()
				all = append(all, p)
			}
			<-start
			for _, p := range all {
				if err := send(p, each); err != nil {
					w.Errorf("send: %v", err)
				}
				p.CloseWrite()
			}
		})
	}
	r := newCompletions(w, n)
	r.keep = true // to close each takes longer than all the rest; the engine's end does
	for r.ended < conns {
		r.step()
		w.cq.SetDeadline(deadlineNow())
	}
	for _, s := range r.streams {
		if s.off != each {
			w.Errorf("a connection ended after %d bytes", s.off)
		}
	}
	peers.Wait()
	if got := w.received(); got != conns*each {
		w.Errorf("%d bytes counted, want %d", got, conns*each)
	}
}

// TestLabWrongQueue: what can't be is refused, with a reason, and the pool can
// still be used by another engine.
func TestLabWrongQueue(t *testing.T) {
	needNoDevice(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		z    ZCRXOptions
		want error
	}{
		{"no such interface", ZCRXOptions{Interface: 1 << 20, Queue: 1}, unix.ENODEV},
		{"no device queue", ZCRXOptions{Interface: lo.Index, Queue: 0}, unix.EOPNOTSUPP},
	} {
		cfg := newConfig(t, 64)
		e, err := New(cfg, Options{Backend: BackendZCRX, ZCRX: tc.z})
		if err == nil {
			e.Close()
			t.Fatalf("%s: it runs", tc.name)
		}
		t.Logf("%s: %v", tc.name, err)
		if cfg.Pool.Lent() != 0 {
			t.Errorf("%s: buffers are lent", tc.name)
		}
		other, err := New(cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}
