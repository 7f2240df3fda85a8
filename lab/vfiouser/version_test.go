//go:build linux

package vfiouser_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// TestVersionQEMU: what QEMU asks for, and that it can take the answer: the
// client checks that too, see NegotiateWith.
func TestVersionQEMU(t *testing.T) {
	noNewFDs(t)
	c, _ := vfiousertest.StartRaw(t, newDevice())
	caps, err := c.Negotiate()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name string
		got  *uint64
		want uint64
	}{
		{"max_msg_fds", caps.MaxMsgFDs, 16},
		{"max_data_xfer_size", caps.MaxDataXferSize, 1 << 20},
		{"max_dma_maps", caps.MaxDMAMaps, 4096},
		{"pgsizes", caps.PgSizes, uint64(os.Getpagesize())},
	} {
		if v.got == nil || *v.got != v.want {
			t.Errorf("%s: %v, want %d", v.name, v.got, v.want)
		}
	}
	if caps.WriteMultiple == nil || !*caps.WriteMultiple {
		t.Errorf("write_multiple: %v", caps.WriteMultiple)
	}
}

// TestVersion: the answer is a subset of what was proposed.
func TestVersion(t *testing.T) {
	for _, tt := range []struct {
		name, capabilities string
		minor              uint16
		check              func(c vfiousertest.Capabilities) bool
	}{
		{"nothing", "", 0, func(c vfiousertest.Capabilities) bool { return c == vfiousertest.Capabilities{} }},
		{"an empty object", `{}         `, 3, func(c vfiousertest.Capabilities) bool { return c == vfiousertest.Capabilities{} }},
		{"no capabilities", `{"capabilities":{}}`, 1, func(c vfiousertest.Capabilities) bool { return c == vfiousertest.Capabilities{} }},
		{"small", `{"capabilities":{"max_msg_fds":1,"max_data_xfer_size":64}}`, 0, func(c vfiousertest.Capabilities) bool {
			return *c.MaxMsgFDs == 1 && *c.MaxDataXferSize == 64 && c.MaxDMAMaps == nil && c.PgSizes == nil && c.WriteMultiple == nil
		}},
		{"large", `{"capabilities":{"max_msg_fds":1000,"max_data_xfer_size":18446744073709551615}}`, 0, func(c vfiousertest.Capabilities) bool {
			return *c.MaxMsgFDs == 16 && *c.MaxDataXferSize == 1<<20
		}},
		{"declined", `{"capabilities":{"write_multiple":false}}`, 0, func(c vfiousertest.Capabilities) bool { return !*c.WriteMultiple }},
		{"unknown", `{"capabilities":{"twin_socket":{"supported":true}}, "more":[1]}`, 0, func(c vfiousertest.Capabilities) bool {
			return c == vfiousertest.Capabilities{}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := vfiousertest.StartRaw(t, newDevice())
			caps, err := c.NegotiateWith(0, tt.minor, tt.capabilities)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(caps) {
				t.Errorf("capabilities %+v", caps)
			}
		})
	}
}

func TestVersionRefused(t *testing.T) {
	for _, tt := range []struct {
		name, capabilities string
		major              uint16
		want               unix.Errno
	}{
		{"major 1", vfiousertest.QEMUCapabilities, 1, unix.ENOTSUP},
		{"no JSON", "capabilities", 0, unix.EINVAL},
		{"cut short", `{"capabilities":`, 0, unix.EINVAL},
		{"an array", `[]`, 0, unix.EINVAL},
		{"two values", `{}{}`, 0, unix.EINVAL},
		{"two NULs", "{}\x00", 0, unix.EINVAL},
		{"a negative number", `{"capabilities":{"max_msg_fds":-1}}`, 0, unix.EINVAL},
		{"a number too large", `{"capabilities":{"max_msg_fds":18446744073709551616}}`, 0, unix.EINVAL},
		{"a string", `{"capabilities":{"max_msg_fds":"8"}}`, 0, unix.EINVAL},
		{"no transfer at all", `{"capabilities":{"max_data_xfer_size":0}}`, 0, unix.EINVAL},
		{"other pages", `{"capabilities":{"pgsizes":256}}`, 0, unix.ENOTSUP},
		{"deep", `{"capabilities":` + strings.Repeat("[", 100_000), 0, unix.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noNewFDs(t)
			c, done := vfiousertest.StartRaw(t, newDevice())
			_, err := c.NegotiateWith(tt.major, 0, tt.capabilities)
			wantErrno(t, "version", err, tt.want)
			if err := done(); !errors.Is(err, vfiouser.ErrProtocol) {
				t.Errorf("the server ended with %v, want ErrProtocol", err)
			}
		})
	}
}

// TestVersionRaw: version messages that NegotiateWith can't send.
func TestVersionRaw(t *testing.T) {
	for _, tt := range []struct {
		name string
		body []byte
	}{
		{"empty", nil},
		{"cut short", []byte{0, 0, 0}},
		{"no NUL", []byte("\x00\x00\x00\x00{}")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, done := vfiousertest.StartRaw(t, newDevice())
			_, err := c.Do(vfiousertest.CmdVersion, tt.body)
			wantErrno(t, "version", err, unix.EINVAL)
			if err := done(); !errors.Is(err, vfiouser.ErrProtocol) {
				t.Errorf("the server ended with %v, want ErrProtocol", err)
			}
		})
	}
}

func TestVersionFirst(t *testing.T) {
	dev := newDevice()
	c, done := vfiousertest.StartRaw(t, dev)
	wantErrno(t, "reset before the version", c.Reset(), unix.EINVAL)
	if err := done(); !errors.Is(err, vfiouser.ErrProtocol) {
		t.Errorf("the server ended with %v, want ErrProtocol", err)
	}
	if got, want := dev.called(), "Attach Reset Detach"; got != want {
		t.Errorf("calls: %s, want %s", got, want)
	}
}

// TestVersionOnce: a second version message changes nothing.
func TestVersionOnce(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	_, err := c.NegotiateWith(0, 0, `{"capabilities":{"max_data_xfer_size":1}}`)
	wantErrno(t, "a second version", err, unix.EINVAL)
	wantErrno(t, "read of 4096 bytes", c.ReadRegion(vfiousertest.BAR0, 0, make([]byte, bar0Len-regRefuse)[:8]), 0)
}

// TestMaxTransfer: a client's own limit is honoured.
func TestMaxTransfer(t *testing.T) {
	c, _ := vfiousertest.StartRaw(t, newDevice())
	if _, err := c.NegotiateWith(0, 0, `{"capabilities":{"max_data_xfer_size":64}}`); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "64 bytes", c.ReadRegion(vfiousertest.Config, 0, make([]byte, 64)), 0)
	wantErrno(t, "65 bytes", c.ReadRegion(vfiousertest.Config, 0, make([]byte, 65)), unix.EINVAL)
}
