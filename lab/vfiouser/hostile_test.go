//go:build linux

package vfiouser_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// header encodes a message's header alone.
func header(cmd uint16, size, flags uint32) []byte {
	return slices.Concat([]byte{1, 0, byte(cmd), byte(cmd >> 8)}, words(size, flags, 0))
}

// TestBadMessages: after what is no message the connection ends.
func TestBadMessages(t *testing.T) {
	const get = vfiousertest.CmdGetInfo
	file := memfd(t, 1<<16)
	many := slices.Repeat([]int{file}, 17)
	for _, tt := range []struct {
		name   string
		raw    []byte
		fds    []int
		close  bool // afterwards
		answer unix.Errno
		want   error
	}{
		{"size 0", header(get, 0, 0), nil, false, unix.EMSGSIZE, vfiouser.ErrProtocol},
		{"size 15", header(get, 15, 0), nil, false, unix.EMSGSIZE, vfiouser.ErrProtocol},
		{"size too large", header(get, 16+16+1<<20+1, 0), nil, false, unix.EMSGSIZE, vfiouser.ErrProtocol},
		{"size 4 GiB", header(get, ^uint32(0), 0), []int{file}, false, unix.EMSGSIZE, vfiouser.ErrProtocol},
		{"a reply", header(get, 16, 1), nil, false, 0, vfiouser.ErrProtocol},
		{"type 15", header(get, 16, 15), []int{file, file}, false, 0, vfiouser.ErrProtocol},
		{"17 descriptors", vfiousertest.Message(1, get, 0, words(16, 0, 0, 0)), many, false, unix.EMSGSIZE, vfiouser.ErrProtocol},
		{"half a header", header(get, 16, 0)[:7], []int{file}, true, 0, io.ErrUnexpectedEOF},
		{"no body", header(get, 32, 0), []int{file}, true, 0, io.ErrUnexpectedEOF},
		{"half a body", append(header(get, 32, 0), 1, 2, 3), []int{file}, true, 0, io.ErrUnexpectedEOF},
		{"nothing", nil, nil, true, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noNewFDs(t)
			c, done := vfiousertest.StartRaw(t, newDevice())
			if _, err := c.Negotiate(); err != nil {
				t.Fatal(err)
			}
			if tt.raw != nil {
				if err := c.Send(tt.raw, tt.fds...); err != nil {
					t.Fatal(err)
				}
			}
			if tt.close {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := done(); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("the server ended with %v, want %v", err, tt.want)
			}
			if tt.close {
				return
			}
			r, err := c.Receive()
			if tt.answer != 0 && (err != nil || r.Errno != tt.answer) {
				t.Errorf("answer %v, %v; want %v", r.Errno, err, tt.answer)
			}
			if tt.answer == 0 && !errors.Is(err, io.EOF) {
				t.Errorf("answer %+v, %v; want the end", r, err)
			}
		})
	}
}

// TestPieces: a message may come in pieces, and many at once.
func TestPieces(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	file := memfd(t, 1<<16)
	raw := vfiousertest.Message(1, vfiousertest.CmdDMAMap, 0, vfiousertest.MapBody(vfiousertest.MapRead, 0, ram, 1<<16))
	for i := range raw {
		var fds []int
		if i == 0 {
			fds = []int{file}
		}
		if err := c.Send(raw[i:i+1], fds...); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := c.Receive(); err != nil || r.Errno != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := do(c, doSum, ram, 10, 0); err != nil {
		t.Error(err)
	}

	var batch []byte
	for i := range 100 {
		batch = append(batch, vfiousertest.Message(uint16(i), vfiousertest.CmdGetInfo, 0, words(16, 0, 0, 0))...)
	}
	if err := c.Send(batch); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if r, err := c.Receive(); err != nil || r.ID != uint16(i) || r.Errno != 0 {
			t.Fatalf("%+v, %v; want the answer to %d", r, err, i)
		}
	}
}

// TestLateDescriptors: descriptors with a message's later bytes are not taken,
// and not leaked.
func TestLateDescriptors(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	file := memfd(t, 1<<16)
	raw := vfiousertest.Message(1, vfiousertest.CmdDMAMap, 0, vfiousertest.MapBody(vfiousertest.MapRead, 0, ram, 1<<16))
	if err := c.Send(raw[:20]); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(raw[20:], file, file); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Receive(); err != nil || r.Errno != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	_, err := do(c, doSum, ram, 10, 0)
	wantErrno(t, "access to memory without a descriptor", err, unix.EFAULT)
}

// TestLargestMessage: a write of max_data_xfer_size is read in full, and fails
// for the region has not room for it.
func TestLargestMessage(t *testing.T) {
	dev := newDevice()
	dev.info.BARs[2] = 1 << 21
	c := vfiousertest.Start(t, dev)
	wantErrno(t, "1 MiB", c.WriteRegion(vfiousertest.BAR2, 0, make([]byte, 1<<20)), 0)
	wantErrno(t, "read of 1 MiB", c.ReadRegion(vfiousertest.BAR2, 0, make([]byte, 1<<20)), 0)
	wantErrno(t, "read of more", c.ReadRegion(vfiousertest.BAR2, 0, make([]byte, 1<<20+1)), unix.EINVAL)
	wantErrno(t, "outside", c.WriteRegion(vfiousertest.BAR2, 1<<20+1, make([]byte, 1<<20)), unix.EINVAL)
}
