//go:build linux

package vfiouser_test

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

func TestRegion(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	for _, n := range []int{1, 2, 3, 4, 8, 1000, bar0Len - 0x100} {
		want := bytes.Repeat([]byte{byte(n), 0x5a}, n)[:n]
		if err := c.WriteRegion(vfiousertest.BAR0, 0x100, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		if err := c.ReadRegion(vfiousertest.BAR0, 0x100, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes read are not those written", n)
		}
	}
}

func TestRegionErrors(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	for _, tt := range []struct {
		name   string
		region int
		off    uint64
		n      int
		want   unix.Errno
	}{
		{"the last byte", vfiousertest.BAR0, bar0Len - 1, 1, 0},
		{"past the end", vfiousertest.BAR0, bar0Len - 1, 2, unix.EINVAL},
		{"behind the end", vfiousertest.BAR0, bar0Len, 1, unix.EINVAL},
		{"too long", vfiousertest.BAR0, 0, bar0Len + 1, unix.EINVAL},
		{"wraps around", vfiousertest.BAR0, ^uint64(0), 2, unix.EINVAL},
		{"no bytes", vfiousertest.BAR0, 0, 0, unix.EINVAL},
		{"a BAR that is not there", vfiousertest.BAR3, 0, 1, unix.EINVAL},
		{"ROM", vfiousertest.ROM, 0, 1, unix.EINVAL},
		{"VGA", vfiousertest.VGA, 0, 1, unix.EINVAL},
		{"region 9", 9, 0, 1, unix.EINVAL},
		{"region -1", -1, 0, 1, unix.EINVAL},
		{"partly the MSI-X table", msixBAR, tableOff + 16*numVectors - 4, 8, unix.EINVAL},
		{"partly the pending bits", msixBAR, pbaOff - 4, 8, unix.EINVAL},
		{"the device says EPERM", vfiousertest.BAR0, regRefuse, 4, unix.EPERM},
		{"the device fails", vfiousertest.BAR0, regBroken, 4, unix.EIO},
	} {
		wantErrno(t, "read, "+tt.name, c.ReadRegion(tt.region, tt.off, make([]byte, tt.n)), tt.want)
		wantErrno(t, "write, "+tt.name, c.WriteRegion(tt.region, tt.off, make([]byte, tt.n)), tt.want)
		if tt.n <= 8 {
			wantErrno(t, "one of two writes, "+tt.name, c.WriteMulti(
				vfiousertest.Write{Region: vfiousertest.BAR0, Off: 0x100, Data: []byte{1}},
				vfiousertest.Write{Region: tt.region, Off: tt.off, Data: make([]byte, tt.n)},
			), tt.want)
		}
	}
}

// TestRegionBodies: bodies whose length is not what their fields say.
func TestRegionBodies(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	access := func(count uint32, data ...byte) []byte { return append(words(0x100, 0, 0, count), data...) }
	for _, tt := range []struct {
		name string
		cmd  uint16
		body []byte
		want unix.Errno
	}{
		{"read, short", vfiousertest.CmdRegionRead, access(4)[:15], unix.EINVAL},
		{"read with data", vfiousertest.CmdRegionRead, access(4, 0), unix.EINVAL},
		{"read of 4 GiB", vfiousertest.CmdRegionRead, access(^uint32(0)), unix.EINVAL},
		{"write, short", vfiousertest.CmdRegionWrite, access(4)[:15], unix.EINVAL},
		{"write without data", vfiousertest.CmdRegionWrite, access(4), unix.EINVAL},
		{"write with too little data", vfiousertest.CmdRegionWrite, access(4, 1, 2, 3), unix.EINVAL},
		{"write with too much data", vfiousertest.CmdRegionWrite, access(4, 1, 2, 3, 4, 5), unix.EINVAL},
		{"writes, empty", vfiousertest.CmdRegionWriteMulti, nil, unix.EINVAL},
		{"writes, none", vfiousertest.CmdRegionWriteMulti, words(0, 0), unix.EINVAL},
		{"writes, one of two", vfiousertest.CmdRegionWriteMulti, slices.Concat(words(2, 0), access(4), words(1, 0)), unix.EINVAL},
		{"writes, one too many", vfiousertest.CmdRegionWriteMulti, slices.Concat(words(1, 0), access(4), words(1, 0), access(4), words(1, 0)), unix.EINVAL},
		{"writes, count that overflows", vfiousertest.CmdRegionWriteMulti, slices.Concat(words(1, 1<<31), access(4), words(1, 0)), unix.EINVAL},
		{"writes, cut short", vfiousertest.CmdRegionWriteMulti, slices.Concat(words(1, 0), access(4), words(1)), unix.EINVAL},
		{"writes, 9 bytes", vfiousertest.CmdRegionWriteMulti, slices.Concat(words(1, 0), access(9), words(1, 0)), unix.EINVAL},
		{"writes, one", vfiousertest.CmdRegionWriteMulti, slices.Concat(words(1, 0), access(8), words(1, 0)), 0},
	} {
		_, err := c.Do(tt.cmd, tt.body)
		wantErrno(t, tt.name, err, tt.want)
	}
}

// TestWriteMulti: the writes are done in order, or none of them.
func TestWriteMulti(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	w := func(off uint64, data ...byte) vfiousertest.Write {
		return vfiousertest.Write{Region: vfiousertest.BAR0, Off: off, Data: data}
	}
	if err := c.WriteMulti(w(0x100, 1, 2, 3, 4, 5, 6, 7, 8), w(0x102, 9), w(0x101, 10, 11)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	if err := c.ReadRegion(vfiousertest.BAR0, 0x100, got); err != nil {
		t.Fatal(err)
	}
	if want := []byte{1, 10, 11, 4, 5, 6, 7, 8}; !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	wantErrno(t, "one out of range", c.WriteMulti(w(0x100, 99), w(bar0Len, 99)), unix.EINVAL)
	if err := c.ReadRegion(vfiousertest.BAR0, 0x100, got); err != nil {
		t.Fatal(err)
	}
	if got[0] != 1 {
		t.Error("a write has been done before one that is out of range")
	}
	many := slices.Repeat([]vfiousertest.Write{w(0x100, 1)}, 1000)
	wantErrno(t, "1000 writes", c.WriteMulti(many...), 0)
}

// TestMSIXTable: the table can be read as it was written, until a reset.
func TestMSIXTable(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	read := func(off uint64) uint32 {
		b := make([]byte, 4)
		if err := c.ReadRegion(msixBAR, off, b); err != nil {
			t.Fatal(err)
		}
		return le.Uint32(b)
	}
	const last = tableOff + 16*numVectors - 4
	for _, off := range []uint64{tableOff, last, pbaOff} {
		if err := c.WriteRegion(msixBAR, off, words(0xfee00000)); err != nil {
			t.Fatal(err)
		}
	}
	if a, b, pba := read(tableOff), read(last), read(pbaOff); a != 0xfee00000 || b != a || pba != 0 {
		t.Errorf("table %#x and %#x, pending bits %#x", a, b, pba)
	}
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if a := read(tableOff); a != 0 {
		t.Errorf("table after a reset: %#x", a)
	}
}
