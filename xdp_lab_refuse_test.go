//go:build linux

package zctap_test

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/zctap/zctap"
)

// TestLabXDPRefused: what the driver of the lab's NIC minds of its settings when it is
// to take an XDP program, the error names, with the command that changes it; and after
// that command it works.
func TestLabXDPRefused(t *testing.T) {
	w, iface := newLabWorld(t)
	open := func(mode string) error {
		q, err := w.tryOpen(iface, zctap.XDPConfig{Mode: mode}, 1024)
		if err == nil {
			w.close(q)
		}
		return err
	}
	ethtool := func(command string) {
		t.Helper()
		args := strings.Fields(command)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	for _, c := range []struct{ set, remedy, also string }{
		{set: "-K %s rx-gro-hw on", remedy: "-K %s rx-gro-hw off"},
		{set: "-G %s rx-buf-len 4096", remedy: "-G %s rx-buf-len 2048"},
		{set: "-L %s rx 4 tx 4", remedy: "-L %s rx 2 tx 2"},
		{set: "-G %s tcp-data-split on", remedy: "-G %s tcp-data-split off", also: "-G %s rx-buf-len 2048"},
	} {
		command := func(s string) string { return "ethtool " + strings.ReplaceAll(s, "%s", iface) }
		ethtool(command(c.set))
		err := open(zctap.XDPCopy)
		if !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "`"+command(c.remedy)+"`") {
			t.Errorf("after %s: %v; want it to say %s", command(c.set), err, command(c.remedy))
		}
		ethtool(command(c.remedy))
		if c.also != "" {
			ethtool(command(c.also))
		}
	}
	if err := open(zctap.XDPCopy); err != nil {
		t.Errorf("after all the remedies: %v", err)
	}
}

// TestLabXDPJumboNIC: the driver does zero-copy with such buffers only as hold the
// longest frame that the NIC could be set to. The error says so, and Auto copies.
func TestLabXDPJumboNIC(t *testing.T) {
	w, _ := newLabWorld(t)
	iface := needGuest(t, "ZCTAP_LAB_JUMBO")[0]
	const says = "maxmtu"
	if _, err := w.tryOpen(iface, zctap.XDPConfig{Mode: zctap.XDPZeroCopy}, 1024); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), says) {
		t.Errorf("zero-copy: %v; want EINVAL that says %q", err, says)
	}
	q, err := w.tryOpen(iface, zctap.XDPConfig{}, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close(q)
	if mode, why := q.XDPMode(); mode != zctap.XDPCopy || why == nil || !strings.Contains(why.Error(), says) {
		t.Errorf("auto: mode %q, %v", mode, why)
	}
}
