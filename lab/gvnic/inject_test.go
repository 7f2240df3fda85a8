//go:build linux

package gvnic

import (
	"bytes"
	"errors"
	"math"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// faulty is a guest to whose device the test delivers frames itself.
func faulty(t *testing.T, f Faults, s setup) *guest {
	t.Helper()
	y := newGuest(t, newDevice(t, Config{Faults: f, FIFO: 1 << 20}))
	y.up(s)
	y.oneQueue()
	return y
}

// numbered delivers n frames with their number as sequence number.
func (g *guest) numbered(n int) {
	g.t.Helper()
	for i := range n {
		for !g.dev.Deliver(Frame{Data: spec{seq: uint32(i), payload: pattern(uint64(i), 100)}.frame(g.t)}) {
			time.Sleep(time.Millisecond)
		}
	}
}

// collect receives all that n frames that were delivered come to, but for those that faults
// dropped and with those that they duplicated, and what comes in the moment after, and returns
// the numbers.
func (g *guest) collect(n int) (seqs []int, all []received) {
	g.t.Helper()
	take := func() {
		for r, ok := g.rx[0].poll(); ok; r, ok = g.rx[0].poll() {
			g.rx[0].post(r.buffers)
			p := parse(r.frame(), wire.Vouched)
			seqs, all = append(seqs, int(be.Uint32(r.frame()[p.l4+4:]))), append(all, r)
		}
	}
	g.eventually("all frames", func() bool {
		take()
		// Of n frames not more than this has come before the last one has.
		c := g.dev.Stats().Injected
		return len(all) >= n-int(c.Dropped)+int(c.Duplicated)
	})
	time.Sleep(2 * time.Millisecond)
	take()
	return seqs, all
}

func inOrder(n int) (s []int) {
	for i := range n {
		s = append(s, i)
	}
	return s
}

// near reports whether n is about p of all.
func near(n, all int, p float64) bool {
	return math.Abs(float64(n)-p*float64(all)) < 4*math.Sqrt(float64(all)*p*(1-p))+1
}

// TestDropDuplicateReorder: as often as asked for, counted, and the same again
// with the same seed.
func TestDropDuplicateReorder(t *testing.T) {
	const n = 1000
	run := func(f Faults) ([]int, Injected) {
		y := faulty(t, f, setup{ring: 1024})
		y.numbered(n)
		seqs, _ := y.collect(n)
		return seqs, y.dev.Stats().Injected
	}
	if seqs, c := run(Faults{}); !slices.Equal(seqs, inOrder(n)) || c != (Injected{}) {
		t.Errorf("no faults: %d frames, %+v", len(seqs), c)
	}
	drops, c := run(Faults{Drop: 0.1, Seed: 5})
	if len(drops) != n-int(c.Dropped) || !near(int(c.Dropped), n, 0.1) || !slices.IsSorted(drops) {
		t.Errorf("drop: %d frames, %+v", len(drops), c)
	}
	if again, _ := run(Faults{Drop: 0.1, Seed: 5}); !slices.Equal(again, drops) {
		t.Error("drop: not the same with the same seed")
	}
	if other, _ := run(Faults{Drop: 0.1, Seed: 6}); slices.Equal(other, drops) {
		t.Error("drop: the same with another seed")
	}
	dups, c := run(Faults{Duplicate: 0.2})
	if len(dups) != n+int(c.Duplicated) || !near(int(c.Duplicated), n, 0.2) || !slices.Equal(slices.Compact(slices.Clone(dups)), inOrder(n)) {
		t.Errorf("duplicate: %d frames, %+v", len(dups), c)
	}
	swapped, c := run(Faults{Reorder: 0.2})
	if slices.IsSorted(swapped) || c.Reordered < 100 {
		t.Errorf("reorder: %+v", c)
	}
	slices.Sort(swapped)
	if !slices.Equal(swapped, inOrder(n)) {
		t.Errorf("reorder: %d of %d frames", len(swapped), n)
	}
	// The last one comes although nothing overtakes it.
	y := faulty(t, Faults{Reorder: 1}, setup{})
	y.numbered(1)
	y.rx[0].wait()
}

// TestCorrupt changes one byte of payload, in packets and in one of the
// packets of a super-frame.
func TestCorrupt(t *testing.T) {
	for _, bad := range []bool{false, true} {
		f := Faults{Corrupt: 0.3, Seed: 1}
		if bad {
			f = Faults{CorruptBad: 0.3, Seed: 1}
		}
		y := faulty(t, f, setup{ring: 512, rsc: true})
		y.numbered(200)
		seqs, all := y.collect(200)
		if !slices.Equal(seqs, inOrder(200)) {
			t.Fatalf("%d frames", len(seqs))
		}
		hits := 0
		check := func(r received, want []byte) {
			t.Helper()
			diff := 0
			for i := range want {
				if r.payload[i] != want[i] {
					diff++
				}
			}
			hits += diff
			if diff > 1 || r.badL4 != (bad && diff == 1) {
				t.Errorf("%d bytes changed, marked bad: %v", diff, r.badL4)
			}
		}
		for i, r := range all {
			check(r, pattern(uint64(i), 100))
		}
		if c := y.dev.Stats().Injected; !near(hits, 200, 0.3) || c.Corrupted != uint64(hits) {
			t.Errorf("%d bytes changed, %+v", hits, c)
		}
		f.Corrupt, f.CorruptBad = math.Ceil(f.Corrupt), math.Ceil(f.CorruptBad)
		y.try(y.dev.SetFaults(f))
		hits = 0
		want := pattern(3, 10_000)
		y.dev.Deliver(Frame{Data: spec{payload: want}.frame(t), SegmentSize: 1000, Checksum: Partial})
		_, all = y.collect(10)
		if len(all) != 10 {
			t.Fatalf("%d packets of a super-frame", len(all))
		}
		for i, r := range all {
			check(r, want[i*1000:(i+1)*1000])
		}
		if hits != 1 {
			t.Errorf("%d bytes of a super-frame changed", hits)
		}
		y.try(y.dev.SetFaults(Faults{}))
		y.dev.Deliver(Frame{Data: spec{payload: want}.frame(t), SegmentSize: 1000, Checksum: Partial})
		if r := y.rx[0].wait(); r.segment != 1000 || !bytes.Equal(r.payload, want) {
			t.Errorf("sound again: %+v", r)
		}
	}
}

// TestNoSplitFault: split, not split, split again, on a queue that is to split.
func TestNoSplitFault(t *testing.T) {
	y := faulty(t, Faults{}, setup{})
	for i, on := range []bool{false, true, false} {
		y.try(y.dev.SetFaults(Faults{NoSplit: on}))
		if y.dev.Faults().NoSplit != on {
			t.Error("Faults")
		}
		y.numbered(1)
		if r := y.rx[0].wait(); (r.header == nil) != on {
			t.Errorf("step %d: header of %d bytes", i, len(r.header))
		}
	}
	if n := y.dev.Stats().Injected.Unsplit; n != 1 {
		t.Errorf("%d unsplit, want 1", n)
	}
}

// TestStarve: no buffers are used, for a time or until told otherwise.
func TestStarve(t *testing.T) {
	y := faulty(t, Faults{Starve: -1}, setup{})
	y.numbered(3)
	y.rx[0].idle(20 * time.Millisecond)
	start := time.Now()
	y.try(y.dev.SetFaults(Faults{Starve: Duration(50 * time.Millisecond)}))
	y.rx[0].post(1) // a doorbell does not help
	y.rx[0].wait()
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("starved for %v", d)
	}
	y.rx[0].wait()
	y.rx[0].wait()
	y.try(y.dev.SetFaults(Faults{Starve: -1}))
	y.numbered(1)
	y.rx[0].idle(10 * time.Millisecond)
	y.try(y.dev.SetFaults(Faults{}))
	y.rx[0].wait()
}

// TestLate: transmit completions come later, in order, and the frames do not.
func TestLate(t *testing.T) {
	x, y := pair(t, Config{Faults: Faults{Late: Duration(60 * time.Millisecond)}}, Config{})
	x.up(setup{ring: 64})
	y.up(setup{})
	y.oneQueue()
	start := time.Now()
	var tags []uint16
	for range 5 {
		tags = append(tags, x.tx[0].send(spec{}.frame(t), sending{}))
		y.rx[0].wait()
	}
	if _, ok := x.tx[0].poll(); ok && time.Since(start) < 50*time.Millisecond {
		t.Error("a completion at once")
	}
	for _, tag := range tags {
		if c := x.tx[0].wait(); c.tag != tag {
			t.Errorf("completion %+v, want tag %d", c, tag)
		}
	}
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("all completions after %v", d)
	}
	x.try(x.c.WaitInterrupt(0, waitTime))
	// No longer late: what is kept back still comes first.
	last := x.tx[0].send(spec{}.frame(t), sending{})
	x.try(x.dev.SetFaults(Faults{}))
	next := x.tx[0].send(spec{}.frame(t), sending{})
	if a, b := x.tx[0].wait(), x.tx[0].wait(); a.tag != last || b.tag != next {
		t.Errorf("completions %+v and %+v, want %d and %d", a, b, last, next)
	}
}

// TestLink: down, and up again: the register, the management interrupt, and no
// frames either way.
func TestLink(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{})
	y.oneQueue()
	mgmt := y.dev.Info().Vectors - 1
	change := func(f Faults, up bool) {
		t.Helper()
		y.try(y.dev.SetFaults(f))
		y.try(y.c.WaitInterrupt(mgmt, waitTime))
		if s := y.readReg(regDeviceStatus); s&statusLinkUp != 0 != up {
			t.Errorf("device status %#x", s)
		}
	}
	change(Faults{LinkDown: true}, false)
	x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
	y.tx[0].done(y.tx[0].send(spec{}.frame(t), sending{}))
	x.eventually("drops", func() bool { return y.dev.Stats().DropLinkDown == 1 })
	change(Faults{}, true)
	x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
	y.rx[0].wait()
	if s := y.dev.Stats(); s.Tx[0].DropNoWire != 1 || s.LinkChanges != 2 || s.Management != 2 {
		t.Errorf("%+v", s)
	}
}

// TestFlap: the link goes down for a while, and the driver is told, also if all that time has
// passed before the device gets to do something.
func TestFlap(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{})
	mgmt := y.dev.Info().Vectors - 1
	for i, late := range []time.Duration{0, time.Hour} {
		y.dev.mu.Lock()
		y.dev.inject.set(Faults{Flap: Duration(30 * time.Millisecond)}, time.Now().Add(-late))
		y.dev.mu.Unlock()
		nudge(y.dev.wake)
		y.try(y.c.WaitInterrupt(mgmt, waitTime))
		y.eventually("up", func() bool { return y.readReg(regDeviceStatus)&statusLinkUp != 0 })
		want := uint64(2 * (i + 1))
		y.eventually("changes", func() bool { return y.dev.Stats().LinkChanges == want })
		if n := y.dev.Stats().Management; n != want {
			t.Errorf("the driver was told %d times of %d changes", n, want)
		}
	}
}

// TestDeviceReset: the device asks for a reset; the driver resets it, and brings
// it up anew.
func TestDeviceReset(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{})
	mgmt := y.dev.Info().Vectors - 1
	if s := y.flowCommand(flowAdd, portRule(0, 1, 1, false)); s != passed {
		t.Fatal(s)
	}
	for i := range 3 {
		y.try(y.dev.SetFaults(Faults{Reset: true}))
		y.try(y.c.WaitInterrupt(mgmt, waitTime))
		if s := y.readReg(regDeviceStatus); s&statusWantReset == 0 {
			t.Fatalf("device status %#x", s)
		}
		y.writeReg(regDriverStatus, driverReset)
		if s := y.readReg(regDeviceStatus); s != statusLinkUp|statusIsReset {
			t.Fatalf("device status %#x after the reset", s)
		}
		if n := y.readReg(regAdminCounter); n != 0 {
			t.Errorf("event counter %d after the reset", n)
		}
		x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{})) // to nobody
		y.eventually("drop", func() bool { return y.dev.Stats().DropNoDriver == uint64(i+1) })
		y.ring(y.rx[0].db, 0)
		y.up(setup{ring: 64})
		y.oneQueue()
		if s := y.readReg(regDeviceStatus); s != statusLinkUp {
			t.Errorf("device status %#x when it runs again", s)
		}
		x.tx[0].done(x.tx[0].send(spec{dport: 1}.frame(t), sending{}))
		y.only("after the reset, without rules", 0)
		s := y.dev.Stats()
		if s.DriverResets != uint64(i+1) || s.Rx[0].Created != uint64(i+2) || s.DropNoDriver != uint64(i+1) {
			t.Errorf("%+v", s)
		}
	}
	if err := y.c.WaitInterrupt(mgmt, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another management interrupt: %v", err)
	}
	y.try(y.c.Reset())
	if s := y.readReg(regDeviceStatus); s != statusLinkUp {
		t.Errorf("device status %#x after a reset by the bus", s)
	}
	y.up(setup{})
	y.oneQueue()
	x.tx[0].done(x.tx[0].send(spec{}.frame(t), sending{}))
	y.rx[0].wait()
}

// TestConfigErrors: what New and SetFaults refuse.
func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]Config{
		"queues": {Queues: 33}, "no queues": {Queues: -1}, "MTU": {MTU: 9001}, "small MTU": {MTU: 67}, "buffers": {BufferSize: 8192},
		"ring": {Ring: 100}, "ring below its bound": {Ring: 128, MinRing: 256}, "bounds": {MinRing: 2048, MaxRing: 1024, Ring: 1024},
		"least ring": {MinRing: 32}, "largest ring": {MaxRing: 8192}, "index": {Index: 255}, "rules": {FlowRules: 1 << 20},
		"FIFO": {FIFO: 1}, "large FIFO": {FIFO: 1 << 30}, "wire": {WireFrames: -1}, "speed": {LinkSpeed: -1},
		"MAC": {MAC: [6]byte{1}}, "faults": {Faults: Faults{Drop: 2}},
	} {
		if d, err := New(c); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
			d.Close()
		}
	}
	d := newDevice(t, Config{Faults: Faults{Drop: 0.5}})
	if err := d.SetFaults(Faults{Drop: math.NaN()}); !errors.Is(err, syscall.EINVAL) || d.Faults().Drop != 0.5 {
		t.Errorf("%v, %+v", err, d.Faults())
	}
}
