//go:build linux

package vfiouser_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

func readConfig(t *testing.T, c *vfiousertest.Client, off uint64, n int) uint32 {
	t.Helper()
	b := make([]byte, 4)
	if err := c.ReadRegion(vfiousertest.Config, off, b[:n]); err != nil {
		t.Fatal(err)
	}
	return le.Uint32(b)
}

func writeConfig(t *testing.T, c *vfiousertest.Client, off uint64, n int, v uint32) {
	t.Helper()
	if err := c.WriteRegion(vfiousertest.Config, off, words(v)[:n]); err != nil {
		t.Fatal(err)
	}
}

// TestConfigHeader: what a kernel reads when it enumerates the device.
func TestConfigHeader(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	for _, tt := range []struct {
		name string
		off  uint64
		n    int
		want uint32
	}{
		{"vendor", 0, 2, 0x1ae0}, {"device", 2, 2, 0x42}, {"both", 0, 4, 0x00421ae0},
		{"command", 4, 2, 0}, {"status", 6, 2, 0x10},
		{"revision", 8, 1, 1}, {"class", 9, 3, 0x020000},
		{"header type", 0xe, 1, 0},
		{"BAR 0", 0x10, 4, 0}, {"ROM", 0x30, 4, 0},
		{"subsystem vendor", 0x2c, 2, 0x1ae0}, {"subsystem", 0x2e, 2, 0x58},
		{"capabilities", 0x34, 1, 0x40},
		{"interrupt line", 0x3c, 1, 0}, {"interrupt pin", 0x3d, 1, 0},
		{"MSI-X, the last", 0x40, 2, 0x0011},
		{"vectors - 1", 0x42, 2, numVectors - 1},
		{"table", 0x44, 4, tableOff | msixBAR}, {"pending bits", 0x48, 4, pbaOff | msixBAR},
		{"the last byte", 0xff, 1, 0},
	} {
		if got := readConfig(t, c, tt.off, tt.n); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
}

// TestConfigWrite: what can be written and what can't, and that a reset undoes it.
func TestConfigWrite(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	initial := make([]byte, 256)
	if err := c.ReadRegion(vfiousertest.Config, 0, initial); err != nil {
		t.Fatal(err)
	}
	ones := bytes.Repeat([]byte{0xff}, 256)
	if err := c.WriteRegion(vfiousertest.Config, 0, ones); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(initial)
	le.PutUint16(want[0x04:], 0x0546)
	want[0x0c] = 0xff
	le.PutUint32(want[0x10:], ^uint32(bar0Len-1))
	le.PutUint32(want[0x14:], ^uint32(4096-1))
	le.PutUint32(want[0x18:], ^uint32(16-1))
	want[0x3c] = 0xff
	le.PutUint16(want[0x42:], 0xc000|(numVectors-1))
	got := make([]byte, 256)
	if err := c.ReadRegion(vfiousertest.Config, 0, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("after writing ones:\n%x\nwant\n%x", got, want)
	}

	writeConfig(t, c, 0x10, 4, 0xfebd1000)
	writeConfig(t, c, 0x05, 1, 0) // half of the command register
	if got := readConfig(t, c, 0x10, 4); got != 0xfebd1000 {
		t.Errorf("BAR 0: %#x", got)
	}
	if got := readConfig(t, c, 4, 2); got != 0x46 {
		t.Errorf("command: %#x", got)
	}

	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadRegion(vfiousertest.Config, 0, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, initial) {
		t.Errorf("after a reset:\n%x\nwant\n%x", got, initial)
	}
}

func TestConfigOutside(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	for _, off := range []uint64{253, 256, 1 << 40, ^uint64(0) - 1} {
		wantErrno(t, "read", c.ReadRegion(vfiousertest.Config, off, make([]byte, 4)), unix.EINVAL)
		wantErrno(t, "write", c.WriteRegion(vfiousertest.Config, off, make([]byte, 4)), unix.EINVAL)
	}
}

// TestConfigWithoutMSIX: no vectors, no capabilities.
func TestConfigWithoutMSIX(t *testing.T) {
	dev := newDevice()
	dev.info.Vectors = 0
	c := vfiousertest.Start(t, dev)
	if status, first := readConfig(t, c, 6, 2), readConfig(t, c, 0x34, 1); status != 0 || first != 0 {
		t.Errorf("status %#x, capabilities at %#x; want none", status, first)
	}
	if _, count, err := c.IRQInfo(vfiousertest.MSIX); err != nil || count != 0 {
		t.Errorf("%d vectors, %v", count, err)
	}
}
