//go:build linux

package zctap_test

import (
	"errors"
	"maps"
	"net"
	"syscall"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/nic"
)

// TestLabXDPGeneric: what the kernel turns off on a NIC for generic XDP is on again
// after Close, after Restore if the receiver was killed, and after the next one.
func TestLabXDPGeneric(t *testing.T) {
	w, iface := newLabWorld(t)
	features := func() map[string]nic.Feature {
		s, err := nic.Inspect(iface)
		if err != nil {
			t.Fatal(err)
		}
		return s.Features
	}
	want := func(when string, was map[string]nic.Feature) {
		t.Helper()
		if now := features(); !maps.Equal(now, was) {
			t.Errorf("%s: %v, was %v", when, now, was)
		}
	}
	was := features()
	off := maps.Clone(was)
	if f := was[nic.FeatureHWGRO]; !f.Active || !f.Changeable {
		t.Fatalf("this NIC has nothing to turn off: %v", was)
	}
	off[nic.FeatureHWGRO] = nic.Feature{Changeable: true}

	x := zctap.XDPConfig{Mode: zctap.XDPGeneric}
	use := func() {
		t.Helper()
		q, err := w.tryOpen(iface, x, 1024)
		if err != nil {
			t.Fatal(err)
		}
		want("while generic XDP is attached", off)
		if err := q.DropCapabilities(); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("DropCapabilities, which Close would miss: %v", err)
		}
		ln := w.listen(q)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		c := w.dial(w.theirs, net.JoinHostPort(addrOf(t, iface).String(), port))
		z, err := ln.AcceptZC()
		if err != nil {
			t.Fatal(err)
		}
		w.exchange(c, z)
		z.Close()
		ln.Close()
		w.close(q)
		want("after Close", was)
	}
	kill := func() {
		t.Helper()
		r := w.child("receiver", "ZCTAP_TEST_MODE="+zctap.XDPGeneric, "ZCTAP_TEST_INTERFACE="+iface)
		r.start(w.ours)
		r.want("ready")
		r.kill()
		want("after a kill", off)
	}
	use()
	kill()
	if reports, err := nic.Restore(nic.RestoreOptions{JournalDir: w.journals}); err != nil || len(reports) != 1 {
		t.Errorf("Restore: %v, %v", reports, err)
	}
	want("after Restore", was)
	kill()
	use()
}
