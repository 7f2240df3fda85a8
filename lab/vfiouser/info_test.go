//go:build linux

package vfiouser_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// words encodes a body of 32-bit fields.
func words(v ...uint32) []byte {
	var b []byte
	for _, v := range v {
		b = le.AppendUint32(b, v)
	}
	return b
}

func TestInfo(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	for _, tt := range []struct {
		name      string
		cmd       uint16
		body      []byte
		want      []byte
		wantErrno unix.Errno
	}{
		{"device", vfiousertest.CmdGetInfo, words(16, 0, 0, 0), words(16, 3, 9, 5), 0},
		{"device, room for more", vfiousertest.CmdGetInfo, words(100, 0, 0, 0), words(16, 3, 9, 5), 0},
		{"device, argsz too small", vfiousertest.CmdGetInfo, words(15, 0, 0, 0), nil, unix.EINVAL},
		{"device, short", vfiousertest.CmdGetInfo, words(16, 0, 0), nil, unix.EINVAL},
		{"device, long", vfiousertest.CmdGetInfo, words(16, 0, 0, 0, 0), nil, unix.EINVAL},
		{"device, nothing", vfiousertest.CmdGetInfo, nil, nil, unix.EINVAL},

		{"BAR 0", vfiousertest.CmdGetRegionInfo, words(32, 0, 0, 0, 0, 0, 0, 0), words(32, 3, 0, 0, bar0Len, 0, 0, 0), 0},
		{"BAR 3", vfiousertest.CmdGetRegionInfo, words(32, 0, 3, 0, 0, 0, 0, 0), words(32, 0, 3, 0, 0, 0, 0, 0), 0},
		{"ROM", vfiousertest.CmdGetRegionInfo, words(32, 0, 6, 0, 0, 0, 0, 0), words(32, 0, 6, 0, 0, 0, 0, 0), 0},
		{"config", vfiousertest.CmdGetRegionInfo, words(32, 0, 7, 0, 0, 0, 0, 0), words(32, 3, 7, 0, 256, 0, 0, 0), 0},
		{"VGA", vfiousertest.CmdGetRegionInfo, words(32, 0, 8, 0, 0, 0, 0, 0), words(32, 0, 8, 0, 0, 0, 0, 0), 0},
		{"region 9", vfiousertest.CmdGetRegionInfo, words(32, 0, 9, 0, 0, 0, 0, 0), nil, unix.EINVAL},
		{"region -1", vfiousertest.CmdGetRegionInfo, words(32, 0, ^uint32(0), 0, 0, 0, 0, 0), nil, unix.EINVAL},
		{"region, argsz too small", vfiousertest.CmdGetRegionInfo, words(31, 0, 0, 0, 0, 0, 0, 0), nil, unix.EINVAL},
		{"region, short", vfiousertest.CmdGetRegionInfo, words(32, 0, 0, 0), nil, unix.EINVAL},

		{"I/O descriptors", vfiousertest.CmdGetRegionIOFDs, words(4096, 0, 2, 0), words(16, 0, 2, 0), 0},
		{"I/O descriptors, region 9", vfiousertest.CmdGetRegionIOFDs, words(16, 0, 9, 0), nil, unix.EINVAL},
		{"I/O descriptors, flags", vfiousertest.CmdGetRegionIOFDs, words(16, 1, 0, 0), nil, unix.EINVAL},
		{"I/O descriptors, short", vfiousertest.CmdGetRegionIOFDs, words(16, 0, 0), nil, unix.EINVAL},

		{"INTx", vfiousertest.CmdGetIRQInfo, words(16, 0, 0, 0), words(16, 0, 0, 0), 0},
		{"MSI", vfiousertest.CmdGetIRQInfo, words(16, 0, 1, 0), words(16, 0, 1, 0), 0},
		{"MSI-X", vfiousertest.CmdGetIRQInfo, words(16, 0, 2, 0), words(16, 3, 2, numVectors), 0},
		{"ERR", vfiousertest.CmdGetIRQInfo, words(16, 0, 3, 0), nil, unix.EINVAL},
		{"REQ", vfiousertest.CmdGetIRQInfo, words(16, 0, 4, 0), words(16, 0, 4, 0), 0},
		{"interrupt type 5", vfiousertest.CmdGetIRQInfo, words(16, 0, 5, 0), nil, unix.EINVAL},
		{"interrupt, argsz too small", vfiousertest.CmdGetIRQInfo, words(0, 0, 2, 0), nil, unix.EINVAL},
		{"interrupt, short", vfiousertest.CmdGetIRQInfo, words(16), nil, unix.EINVAL},

		{"reset", vfiousertest.CmdReset, nil, []byte{}, 0},
		{"reset with a body", vfiousertest.CmdReset, words(0), nil, unix.EINVAL},

		{"DMA read, the server's to send", 11, make([]byte, 16), nil, unix.ENOTSUP},
		{"DMA write, the server's to send", 12, make([]byte, 24), nil, unix.ENOTSUP},
		{"dirty pages", vfiousertest.CmdDirtyPages, make([]byte, 8), nil, unix.ENOTSUP},
		{"device feature", 16, words(16, 1<<16|1), nil, unix.ENOTSUP},
		{"command 0", 0, nil, nil, unix.ENOTSUP},
		{"command 65535", 65535, make([]byte, 1000), nil, unix.ENOTSUP},
	} {
		reply, err := c.Do(tt.cmd, tt.body)
		wantErrno(t, tt.name, err, tt.wantErrno)
		if !bytes.Equal(reply, tt.want) {
			t.Errorf("%s: reply %x, want %x", tt.name, reply, tt.want)
		}
	}
}

// TestRegions: the client's own view of the regions.
func TestRegions(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	for region, want := range []uint64{bar0Len, 4096, 16, 0, 0, 0, 0, 256, 0} {
		if flags, size, err := c.RegionInfo(region); err != nil || size != want || (flags == 3) != (want > 0) {
			t.Errorf("region %d: flags %d, %d bytes, %v; want %d bytes", region, flags, size, err, want)
		}
	}
}

// TestNoReply: a command that wants no reply gets none, neither of success nor
// of failure, and is done before the next one.
func TestNoReply(t *testing.T) {
	dev := newDevice()
	c := vfiousertest.Start(t, dev)
	for _, cmd := range []uint16{vfiousertest.CmdReset, vfiousertest.CmdDirtyPages} {
		if err := c.Send(vfiousertest.Message(77, cmd, vfiousertest.FlagNoReply, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Do(vfiousertest.CmdGetInfo, words(16, 0, 0, 0)); err != nil {
		t.Error(err)
	}
	if got, want := dev.called(), "Attach Reset Reset"; got != want {
		t.Errorf("calls: %s, want %s", got, want)
	}
}
