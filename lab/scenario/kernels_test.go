//go:build linux

package scenario

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

// startOn starts the machine with the first kernel of those versions that the
// mirror has. Which those are changes, and to look for one that is not there takes
// a while, so those that have been seen come first. Without any there is nothing to
// test.
func (r *rig) startOn(versions ...string) {
	r.Helper()
	for _, v := range versions {
		r.machine.Kernel = v
		vm, err := lab.Boot(context.Background(), r.machine)
		if errors.Is(err, lab.ErrNoKernel) {
			continue
		}
		if err != nil {
			r.Fatal(err)
		}
		r.run(vm)
		return
	}
	testenv.SkipOrFail(r, "the mirror has none of the kernels %v any more: name others that it has", versions)
}

// TestLabOldestKernel: the oldest kernel that has zero-copy receive. Its driver for
// the lab's NIC can't, and what is older than 7.1 can't do without a device, so the
// engine has to say so, and to leave things as they were.
func TestLabOldestKernel(t *testing.T) {
	inTurn(t, 12)
	r := newEngineRig(t, gvnic.Config{})
	uring := r.addTests("internal/uring")
	r.machine.Modules = append(r.machine.Modules, "veth")
	r.startOn("6.16", "6.15", "6.17")
	before := r.settings()
	for _, c := range []struct {
		flags, wants []string
		untouched    bool
	}{
		{nil, []string{"ZCRX_IFQ", "the driver did not take the area for its queue"}, false},
		// What the kernel lacks is found out before the NIC is prepared, with new queues.
		{[]string{"--rings", "2"}, []string{"sharing of zero-copy receive queues", "6.19"}, true},
	} {
		made := r.nic.Stats().Rx[0].Created
		steps := stream(1<<20, c.flags...)[:1]
		steps[0].Background, steps[0].MayFail = false, true
		got := r.do(steps...).Steps[0]
		for _, want := range c.wants {
			if got.ExitCode == 0 || !strings.Contains(string(got.Stderr), want) {
				t.Errorf("zctap recv %v ended with %d and does not say %q: %s", c.flags, got.ExitCode, want, got.Stderr)
			}
		}
		if n := r.nic.Stats().Rx[0].Created - made; (n == 0) != c.untouched {
			t.Errorf("zctap recv %v: the driver made its queues anew %d times", c.flags, n)
		}
	}
	r.wantSettings(before)
	r.runTests(uring, "^Test(Have|Wake|RecvMultishot|RecvCQOverflow|MsgRing|DisabledRing|ZCRX|NSZCRX)")
}

// TestLabOlderKernel: the engine on the oldest kernel whose driver for the lab's NIC
// can do zero-copy receive passes the conformance suite, on the NIC and without a device
// (from 7.1): a part of it, without ZCTAP_LAB_LONG=1.
func TestLabOlderKernel(t *testing.T) {
	inTurn(t, 27)
	r := newRig(t, gvnic.Config{})
	zctap := r.addTests("")
	r.startOn("7.2", "7.1", "7.0", "6.19", "6.18")
	before := r.settings()
	cases := someCases("Transfer|HalfClose|Reset|Exhaustion|SlowReader|SmallMessages|CompletionEnds|CloseWithDataQueued")
	r.runTests(zctap, "^TestLabConformanceZCRX$/"+cases)
	if v := r.machine.Kernel; v == "7.2" || v == "7.1" {
		r.runTests(zctap, "^TestLabConformanceZCRXNoDevice$/"+cases)
	}
	r.wantSettings(before)
}
