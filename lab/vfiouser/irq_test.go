//go:build linux

package vfiouser_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

const (
	soon = 30 * time.Second // for an interrupt that comes
	now  = 0                // for one that does not: the server answers after it has signalled
)

// interrupt has the device signal a vector.
func interrupt(t *testing.T, c *vfiousertest.Client, v int) {
	t.Helper()
	if _, err := do(c, doInterrupt, 0, 0, uint32(int32(v))); err != nil {
		t.Fatal(err)
	}
}

// wantInterrupts fails the test unless exactly these vectors of the first n are
// signalled, and takes the signals.
func wantInterrupts(t *testing.T, c *vfiousertest.Client, n int, want ...int) {
	t.Helper()
	signalled := map[int]bool{}
	for _, v := range want {
		signalled[v] = true
	}
	for v := range n {
		err := c.WaitInterrupt(v, now)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if got := err == nil; got != signalled[v] {
			t.Errorf("vector %d signalled: %t", v, got)
		}
	}
}

// TestInterrupt: each vector has its own eventfd, more than one message can set
// up; what is not there is not signalled.
func TestInterrupt(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	interrupt(t, c, 0) // nothing is set up: lost, and no harm
	if err := c.EnableVectors(numVectors); err != nil {
		t.Fatal(err)
	}
	wantInterrupts(t, c, numVectors)
	for _, v := range []int{0, 1, 15, 16, 17, numVectors - 1} {
		interrupt(t, c, v)
		interrupt(t, c, v)
		wantInterrupts(t, c, numVectors, v)
	}
	for _, v := range []int{-1, numVectors, math.MaxInt32, math.MinInt32} {
		interrupt(t, c, v)
	}
	wantInterrupts(t, c, numVectors)
	if err := c.EnableVectors(2); err != nil { // disables first
		t.Fatal(err)
	}
	interrupt(t, c, 1)
	interrupt(t, c, 5)
	if err := c.WaitInterrupt(1, soon); err != nil {
		t.Error(err)
	}
	if err := c.DisableVectors(); err != nil {
		t.Fatal(err)
	}
	interrupt(t, c, 1)
}

// TestInterruptFromDo: a device interrupts by itself while the client waits.
func TestInterruptFromDo(t *testing.T) {
	dev := newDevice()
	c := vfiousertest.Start(t, dev)
	if err := c.EnableVectors(1); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.bus.Do(func() error { dev.bus.Interrupt(0); return nil }) }()
	if err := c.WaitInterrupt(0, soon); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func setIRQs(c *vfiousertest.Client, flags, start, count uint32, bools ...byte) error {
	_, err := c.Do(vfiousertest.CmdSetIRQs, vfiousertest.IRQBody(flags, vfiousertest.MSIX, start, count, bools...))
	return err
}

const (
	none    = vfiousertest.DataNone
	boolean = vfiousertest.DataBool
	evt     = vfiousertest.DataEventfd
	mask    = vfiousertest.ActionMask
	unmask  = vfiousertest.ActionUnmask
	trigger = vfiousertest.ActionTrigger
)

// TestTrigger: a client signals vectors itself.
func TestTrigger(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	if err := c.EnableVectors(8); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "trigger 2 to 4", setIRQs(c, none|trigger, 2, 3), 0)
	wantInterrupts(t, c, 8, 2, 3, 4)
	wantErrno(t, "trigger 1 and 3", setIRQs(c, boolean|trigger, 1, 3, 1, 0, 255), 0)
	wantInterrupts(t, c, 8, 1, 3)
}

// TestMask: an interrupt that comes while its vector is masked waits, shows in
// the pending bits, and is one when the vector is unmasked.
func TestMask(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	if err := c.EnableVectors(numVectors); err != nil {
		t.Fatal(err)
	}
	pending := func(off uint64) uint64 {
		b := make([]byte, 8)
		if err := c.ReadRegion(msixBAR, pbaOff+off, b); err != nil {
			t.Fatal(err)
		}
		return le.Uint64(b)
	}
	wantErrno(t, "mask 1 and 2", setIRQs(c, none|mask, 1, 2), 0)
	wantErrno(t, "mask 65 of 64 to 66", setIRQs(c, boolean|mask, 64, 3, 0, 1, 0), 0)
	for _, v := range []int{0, 1, 1, 64, 65} {
		interrupt(t, c, v)
	}
	wantInterrupts(t, c, numVectors, 0, 64)
	if a, b := pending(0), pending(8); a != 1<<1 || b != 1<<1 {
		t.Errorf("pending %#x %#x, want 2 and 2", a, b)
	}
	b := make([]byte, 1)
	if err := c.ReadRegion(msixBAR, pbaOff+8, b); err != nil || b[0] != 2 {
		t.Errorf("pending byte %#x, %v", b, err)
	}
	wantErrno(t, "unmask all", setIRQs(c, none|unmask, 0, numVectors), 0)
	wantInterrupts(t, c, numVectors, 1, 65)
	if a, b := pending(0), pending(8); a != 0 || b != 0 {
		t.Errorf("pending %#x %#x after unmasking", a, b)
	}

	// A reset unmasks, forgets what is pending, and keeps the eventfds.
	wantErrno(t, "mask 3", setIRQs(c, none|mask, 3, 1), 0)
	interrupt(t, c, 3)
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if a := pending(0); a != 0 {
		t.Errorf("pending %#x after a reset", a)
	}
	wantInterrupts(t, c, numVectors)
	interrupt(t, c, 3)
	wantInterrupts(t, c, numVectors, 3)

	// One that is disabled forgets what is pending, too.
	wantErrno(t, "mask 3", setIRQs(c, none|mask, 3, 1), 0)
	interrupt(t, c, 3)
	if err := c.DisableVectors(); err != nil {
		t.Fatal(err)
	}
	if a := pending(0); a != 0 {
		t.Errorf("pending %#x after disabling", a)
	}
}

// TestSetIRQs: what is refused, and closes what came with it.
func TestSetIRQs(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	if err := c.EnableVectors(4); err != nil {
		t.Fatal(err)
	}
	e, file := eventfd(t, 0), memfd(t, 0)
	fds := func(n int) []int {
		var fds []int
		for range n {
			fds = append(fds, e)
		}
		return fds
	}
	type irq struct{ flags, index, start, count uint32 }
	const msix = vfiousertest.MSIX
	for _, tt := range []struct {
		name  string
		irq   irq
		bools []byte
		fds   []int
		want  unix.Errno
	}{
		{"two kinds of data", irq{none | evt | trigger, msix, 4, 1}, nil, fds(1), unix.EINVAL},
		{"no kind of data", irq{trigger, msix, 0, 1}, nil, nil, unix.EINVAL},
		{"two actions", irq{none | trigger | mask, msix, 0, 1}, nil, nil, unix.EINVAL},
		{"no action", irq{none, msix, 0, 1}, nil, nil, unix.EINVAL},
		{"unknown flags", irq{none | trigger | 1<<6, msix, 0, 1}, nil, nil, unix.EINVAL},
		{"past the end", irq{none | trigger, msix, numVectors - 1, 2}, nil, nil, unix.EINVAL},
		{"overflow", irq{none | trigger, msix, math.MaxUint32, 2}, nil, nil, unix.EINVAL},
		{"overflow with a descriptor", irq{evt | trigger, msix, math.MaxUint32, 1}, nil, fds(1), unix.EINVAL},
		{"4 Gi vectors", irq{evt | trigger, msix, 0, math.MaxUint32}, nil, fds(1), unix.EINVAL},
		{"4 Gi booleans", irq{boolean | trigger, msix, 0, math.MaxUint32}, []byte{1}, nil, unix.EINVAL},
		{"too few booleans", irq{boolean | trigger, msix, 0, 3}, []byte{1, 1}, nil, unix.EINVAL},
		{"too many booleans", irq{boolean | trigger, msix, 0, 1}, []byte{1, 1}, nil, unix.EINVAL},
		{"booleans that nothing tells of", irq{none | trigger, msix, 0, 1}, []byte{1}, nil, unix.EINVAL},
		{"descriptors that nothing tells of", irq{none | trigger, msix, 0, 1}, nil, fds(1), unix.EINVAL},
		{"too few descriptors", irq{evt | trigger, msix, 4, 3}, nil, fds(2), unix.EINVAL},
		{"too many descriptors", irq{evt | trigger, msix, 4, 3}, nil, fds(4), unix.EINVAL},
		{"no eventfd", irq{evt | trigger, msix, 4, 2}, nil, []int{e, file}, unix.EINVAL},
		{"eventfd for mask", irq{evt | mask, msix, 4, 1}, nil, fds(1), unix.ENOTSUP},
		{"eventfd for unmask", irq{evt | unmask, msix, 4, 1}, nil, fds(1), unix.ENOTSUP},
		{"none with a start", irq{none | trigger, msix, 1, 0}, nil, nil, unix.EINVAL},
		{"none with descriptors", irq{evt | trigger, msix, 0, 0}, nil, fds(1), unix.EINVAL},
		{"none, masked", irq{none | mask, msix, 0, 0}, nil, nil, unix.EINVAL},
		{"INTx", irq{evt | trigger, vfiousertest.INTx, 0, 1}, nil, fds(1), unix.EINVAL},
		{"MSI", irq{none | trigger, vfiousertest.MSI, 0, 1}, nil, nil, unix.EINVAL},
		{"ERR", irq{evt | trigger, vfiousertest.ERR, 0, 1}, nil, fds(1), unix.EINVAL},
		{"REQ", irq{evt | trigger, vfiousertest.REQ, 0, 1}, nil, fds(1), unix.EINVAL},
		{"type 5", irq{none | trigger, 5, 0, 0}, nil, nil, unix.EINVAL},
		{"type -1", irq{none | trigger, math.MaxUint32, 0, 0}, nil, nil, unix.EINVAL},
		{"disable INTx", irq{none | trigger, vfiousertest.INTx, 0, 0}, nil, nil, 0},
		{"disable MSI", irq{none | trigger, vfiousertest.MSI, 0, 0}, nil, nil, 0},
		{"disable ERR", irq{none | trigger, vfiousertest.ERR, 0, 0}, nil, nil, 0},
		{"disable REQ", irq{none | trigger, vfiousertest.REQ, 0, 0}, nil, nil, 0},
	} {
		_, err := c.Do(vfiousertest.CmdSetIRQs, vfiousertest.IRQBody(tt.irq.flags, tt.irq.index, tt.irq.start, tt.irq.count, tt.bools...), tt.fds...)
		wantErrno(t, tt.name, err, tt.want)
	}
	for _, b := range [][]byte{nil, vfiousertest.IRQBody(none|trigger, msix, 0, 1)[:19], words(19, none|trigger, msix, 0, 1)} {
		_, err := c.Do(vfiousertest.CmdSetIRQs, b, e)
		wantErrno(t, "a bad body", err, unix.EINVAL)
	}
	for v := range 4 { // none of it has changed anything
		interrupt(t, c, v)
		wantInterrupts(t, c, 4, v)
	}
}

// TestSetIRQsReplace: an eventfd takes the place of another, which is closed;
// no eventfd takes one away. QEMU does both while others are in use.
func TestSetIRQsReplace(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	if err := c.EnableVectors(3); err != nil {
		t.Fatal(err)
	}
	open := len(openFDs(t))
	e := eventfd(t, 0)
	for range 10 {
		_, err := c.Do(vfiousertest.CmdSetIRQs, vfiousertest.IRQBody(evt|trigger, vfiousertest.MSIX, 1, 1), e)
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(openFDs(t)); n != open+1 {
		t.Errorf("%d descriptors are open, 1 more is expected", n-open)
	}
	interrupt(t, c, 1)
	wantInterrupts(t, c, 3)
	var count [8]byte
	if _, err := unix.Read(e, count[:]); err != nil {
		t.Errorf("the new eventfd is not signalled: %v", err)
	}
	wantErrno(t, "without descriptors", setIRQs(c, evt|trigger, 0, 2), 0)
	for v := range 3 {
		interrupt(t, c, v)
	}
	wantInterrupts(t, c, 3, 2)
	if n := len(openFDs(t)); n != open-1 {
		t.Errorf("%d descriptors are open, 1 less is expected", n-open)
	}
}

// TestFullEventfd: one whose counter is full neither blocks the device nor
// loses the interrupt, also if the client has made it blocking again.
func TestFullEventfd(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	e := eventfd(t, unix.EFD_NONBLOCK)
	_, err := c.Do(vfiousertest.CmdSetIRQs, vfiousertest.IRQBody(evt|trigger, vfiousertest.MSIX, 0, 1), e)
	if err != nil {
		t.Fatal(err)
	}
	for _, blocking := range []bool{false, true} {
		full := binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1)
		if _, err := unix.Write(e, full); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(e, !blocking); err != nil {
			t.Fatal(err)
		}
		interrupt(t, c, 0)
		var count [8]byte
		if _, err := unix.Read(e, count[:]); err != nil {
			t.Errorf("the eventfd is not signalled: %v", err)
		}
		interrupt(t, c, 0)
		if _, err := unix.Read(e, count[:]); err != nil || binary.NativeEndian.Uint64(count[:]) != 1 {
			t.Errorf("after it was read: %v, %v", count, err)
		}
	}
}
