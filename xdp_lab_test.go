//go:build linux

package zctap_test

import (
	"errors"
	"maps"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/nic"
)

// TestLabXDPGeneric: what the kernel turns off on a NIC for generic XDP is on again
// after Close, after Restore if the receiver was killed, and after the next one.
func TestLabXDPGeneric(t *testing.T) {
	env := needGuest(t, "ZCTAP_LAB_NIC", "ZCTAP_LAB_PEER")
	features := func() map[string]nic.Feature {
		s, err := nic.Inspect(env[0])
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

	here, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	peer, err := netns.Open(env[1])
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	w := &world{TB: t, ours: here, theirs: peer, journals: filepath.Join(t.TempDir(), "journals")}
	x := zctap.XDPConfig{Mode: zctap.XDPGeneric}
	use := func() {
		t.Helper()
		q, err := w.tryOpen(env[0], x, 1024)
		if err != nil {
			t.Fatal(err)
		}
		want("while generic XDP is attached", off)
		if err := q.DropCapabilities(); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("DropCapabilities, which Close would miss: %v", err)
		}
		ln := w.listen(q)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		c := w.dial(w.theirs, net.JoinHostPort(addrOf(t, env[0]).String(), port))
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
		r := w.child("receiver", "ZCTAP_TEST_MODE="+zctap.XDPGeneric, "ZCTAP_TEST_INTERFACE="+env[0])
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
