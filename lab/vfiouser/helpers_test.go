//go:build linux

package vfiouser_test

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

var le = binary.LittleEndian

// Registers of a dmaDevice, in BAR 0.
const (
	regAddr    = 0x00 // u64: a guest address
	regLen     = 0x08 // u32
	regValue   = 0x0c // u32
	regCommand = 0x10 // u32: writing it does something
	regResult  = 0x14 // u32
	regRefuse  = 0x20 // accesses fail with EPERM
	regBroken  = 0x28 // accesses fail with an error that has no errno

	// Commands.
	doFill      = 1 // fill regLen bytes at regAddr with the byte regValue
	doSum       = 2 // add up regLen bytes at regAddr
	doStore     = 3 // store regValue at regAddr
	doLoad      = 4 // load from regAddr
	doInterrupt = 5 // signal vector regValue

	bar0Len    = 4096
	msixBAR    = 1
	tableOff   = 0x000
	pbaOff     = 0x800
	numVectors = 70
)

// A dmaDevice is a device that does with guest memory what it is told. Its
// commands fail with the Bus's errors.
type dmaDevice struct {
	info vfiouser.Info
	regs [bar0Len]byte
	bus  *vfiouser.Bus

	mu    sync.Mutex
	calls []string // Attach, Reset, Detach, in order
}

func newDevice() *dmaDevice {
	return &dmaDevice{info: vfiouser.Info{
		Vendor: 0x1ae0, Device: 0x0042, SubsystemVendor: 0x1ae0, SubsystemDevice: 0x0058, Revision: 1, Class: 0x020000,
		BARs:    [6]uint64{bar0Len, 4096, 16},
		Vectors: numVectors, TableBAR: msixBAR, TableOffset: tableOff, PBABAR: msixBAR, PBAOff: pbaOff,
	}}
}

func (d *dmaDevice) call(name string) {
	d.mu.Lock()
	d.calls = append(d.calls, name)
	d.mu.Unlock()
}

func (d *dmaDevice) called() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.calls, " ")
}

func (d *dmaDevice) Info() vfiouser.Info      { return d.info }
func (d *dmaDevice) Attach(bus *vfiouser.Bus) { d.bus = bus; d.call("Attach") }
func (d *dmaDevice) Detach()                  { d.call("Detach") }
func (d *dmaDevice) Reset()                   { clear(d.regs[:]); d.call("Reset") }

func (d *dmaDevice) ReadBAR(bar int, off uint64, p []byte) error {
	if bar != 0 {
		clear(p)
		return nil
	}
	if err := refusal(off); err != nil {
		return err
	}
	copy(p, d.regs[off:])
	return nil
}

func (d *dmaDevice) WriteBAR(bar int, off uint64, p []byte) error {
	if bar != 0 {
		return nil
	}
	if err := refusal(off); err != nil {
		return err
	}
	copy(d.regs[off:], p)
	if off <= regCommand && off+uint64(len(p)) > regCommand {
		return d.command()
	}
	return nil
}

func refusal(off uint64) error {
	switch off {
	case regRefuse:
		return unix.EPERM
	case regBroken:
		return errors.New("out of order")
	}
	return nil
}

func (d *dmaDevice) command() error {
	addr, n, v := le.Uint64(d.regs[regAddr:]), int(int32(le.Uint32(d.regs[regLen:]))), le.Uint32(d.regs[regValue:])
	result := uint32(0)
	switch le.Uint32(d.regs[regCommand:]) {
	case doFill:
		mem, err := d.bus.Memory(addr, n)
		if err != nil {
			return err
		}
		for i := range mem {
			mem[i] = byte(v)
		}
	case doSum:
		mem, err := d.bus.Memory(addr, n)
		if err != nil {
			return err
		}
		for _, b := range mem {
			result += uint32(b)
		}
	case doStore:
		if err := d.bus.Store32(addr, v); err != nil {
			return err
		}
	case doLoad:
		var err error
		if result, err = d.bus.Load32(addr); err != nil {
			return err
		}
	case doInterrupt:
		d.bus.Interrupt(int(int32(v)))
	}
	le.PutUint32(d.regs[regResult:], result)
	return nil
}

// do has the device do something by its registers, and returns its result.
func do(c *vfiousertest.Client, command uint32, addr uint64, n int, v uint32) (uint32, error) {
	b := make([]byte, regCommand+4)
	le.PutUint64(b[regAddr:], addr)
	le.PutUint32(b[regLen:], uint32(int32(n)))
	le.PutUint32(b[regValue:], v)
	le.PutUint32(b[regCommand:], command)
	if err := c.WriteRegion(vfiousertest.BAR0, 0, b); err != nil {
		return 0, err
	}
	err := c.ReadRegion(vfiousertest.BAR0, regResult, b[:4])
	return le.Uint32(b), err
}

// openFDs returns what this process has open, as "number name". /proc/self/fd
// itself is not among them.
func openFDs(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var fds []string
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(name, "/proc/") {
			fds = append(fds, e.Name()+" "+name)
		}
	}
	slices.Sort(fds)
	return fds
}

// noNewFDs fails the test at its end if more is open, or less, than now.
func noNewFDs(t testing.TB) {
	t.Helper()
	before := openFDs(t)
	t.Cleanup(func() {
		if after := openFDs(t); !slices.Equal(before, after) {
			t.Errorf("open before: %q\nafter: %q", before, after)
		}
	})
}

// guestMappings counts the mappings of the memfds that vfiousertest makes: one
// is the client's, the other is the server's.
func guestMappings(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "/memfd:guest")
}

func wantErrno(t testing.TB, what string, err error, want unix.Errno) {
	t.Helper()
	if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func mustMap(t testing.TB, c *vfiousertest.Client, addr uint64, size int) *vfiousertest.Memory {
	t.Helper()
	m, err := c.Map(addr, size)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func memfd(t testing.TB, size int64) int {
	t.Helper()
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	return fd
}

func eventfd(t testing.TB, flags int) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}
