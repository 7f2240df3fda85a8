//go:build linux

package scenario

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

const module = "github.com/zctap/zctap/"

// guestEnv tells the tests in the guest where they are.
var guestEnv = []string{"ZCTAP_LAB=1", "ZCTAP_LAB_NIC=eth0", "ZCTAP_LAB_PEER=" + senderNetns, "ZCTAP_LAB_NOSPLIT=eth2", "ZCTAP_LAB_JUMBO=eth2"}

// addTests builds the tests of a package, and puts them into the guest, too. It
// returns the path there.
func (r *rig) addTests(pkg string) string {
	r.Helper()
	program, err := lab.BuildTest(r.Context(), r.TempDir(), strings.TrimSuffix(module+pkg, "/"))
	if err != nil {
		r.Fatal(err)
	}
	inside := "/usr/local/bin/" + filepath.Base(program)
	r.machine.Files = append(r.machine.Files, lab.File{Path: inside, Source: program, Program: true})
	return inside
}

// packageRig is a started machine with the tests of packages, for the programs that it
// returns, and a NIC eth2 that does not split headers.
func packageRig(t *testing.T, packages ...string) (r *rig, programs []string) {
	t.Helper()
	r = newRig(t, gvnic.Config{})
	for _, p := range packages {
		programs = append(programs, r.addTests(p))
	}
	plain := r.device(gvnic.Config{NoSplit: true}, 2)
	r.machine.Devices = append(r.machine.Devices, plain)
	r.job.Interfaces = append(r.job.Interfaces, lab.Interface{MAC: mac(plain), Name: "eth2"})
	r.machine.Modules = append(r.machine.Modules, "tun", "veth")
	r.machine.Cmdline = append(r.machine.Cmdline, "hugepages=16")
	r.machine.Known = append(r.machine.Known, closedWhileDown)
	r.start()
	return r, programs
}

// closedWhileDown is what the kernel says when a queue's ring is closed while its interface is
// down, as one is that was moved to another namespace. It takes the ring off the queue and has
// the driver make the queue anew; of a queue that is down gve (gve_rx_queue_stop) answers
// EAGAIN, and the kernel expects ENETDOWN. It does not say which errno it got, so runTests lets only
// lastTest do this, and once.
var closedWhileDown = lab.Known{
	Match: regexp.MustCompile(`\AWARNING: net/core/netdev_rx_queue\.c:\d+ at __netif_mp_close_rxq\+(.*\n)*?.*io_ring_exit_work`),
	Why:   "gve calls a queue that is down EAGAIN, not ENETDOWN; the ring is off the queue already",
}

// TestLabPackages runs tests of packages that need a newer kernel than the
// host's, or a NIC, in a guest: those named TestLab..., of which none may skip. Those of
// the module's own package are TestLabQueues.
func TestLabPackages(t *testing.T) {
	inTurn(t, 85)
	packages := []string{"internal/uring", "internal/uring/uringtest", "internal/nic", "internal/engine/kernel"}
	r, programs := packageRig(t, packages...)
	before := r.settings()
	for i, p := range packages {
		t.Run("zctap/"+p, func(t *testing.T) {
			r.sub(t).runAllTests(programs[i], before, "^TestLab", "")
		})
	}
}

// TestLabQueues does so with what uses the package zctap, as an application does.
func TestLabQueues(t *testing.T) {
	inTurn(t, 150)
	r, programs := packageRig(t, "")
	before := r.settings()
	t.Run("zctap", func(t *testing.T) {
		r.sub(t).runAllTests(programs[0], before, "^TestLab", strings.Join([]string{nativeXDPTests, nicRingsTest, lastTest}, "|"))
	})
	t.Run("rings", func(t *testing.T) {
		r := r.sub(t)
		r.runTests(programs[0], nicRingsTest+"/"+someCases("Transfer|Dial|Exhaustion|SlowReader|SmallMessages|CompletionEnds|CloseWithDataQueued"))
		r.wantSettings(before)
	})
	t.Run("interface gone", func(t *testing.T) {
		r.sub(t).runAllTests(programs[0], before, lastTest, "^$")
	})
}

// runAllTests runs the tests of a program that a pattern names but those of another; none
// may skip, and they leave the NIC as it was.
func (r *rig) runAllTests(program, settings, pattern, but string) {
	r.Helper()
	if out := r.runTests(program, pattern, "-test.skip", but); strings.Contains(out, "--- SKIP") {
		r.Error("tests were skipped")
	}
	r.wantSettings(settings)
}

// nicRingsTest is the conformance suite with rings that share the NIC's queue.
const nicRingsTest = "^TestLabConformanceZCRXRings$"

// lastTest takes the NIC out, which is then as it was at boot.
const lastTest = "^TestLabInterfaceGone$"

// someCases is the pattern of those cases of the conformance suite, or of all with
// ZCTAP_LAB_LONG=1.
func someCases(names string) string {
	if long {
		return ""
	}
	return "^(" + names + ")$"
}

// runTests runs those tests of a program that a pattern names, in the guest, and
// returns what they print. Some have to run.
func (r *rig) runTests(program, pattern string, flags ...string) string {
	r.Helper()
	const limit = 12 * time.Minute // only a failure takes so long
	res, err := r.vm.Run(r.Context(), lab.Job{
		Steps: []lab.Step{{
			Args: append([]string{program, "-test.v", "-test.run", pattern, "-test.timeout", limit.String()}, flags...),
			Env:  guestEnv,
		}},
		OnEvent: r.events(nil),
		Timeout: limit + time.Minute,
	})
	if res == nil {
		r.Fatal(err)
	}
	out := string(res.Steps[0].Stdout)
	r.Logf("%s%s", out, res.Steps[0].Stderr)
	if err != nil {
		r.Fatalf("%v\nNIC: %+v", err, r.nic.Stats())
	}
	if !strings.Contains(out, "--- PASS") {
		r.Errorf("there are no tests %s", pattern)
	}
	closed := slices.DeleteFunc(res.Splats, func(s lab.Splat) bool { return s.Known != closedWhileDown.Why })
	if n := len(closed); n > 1 || n == 1 && pattern != lastTest {
		r.Errorf("%d queues were closed while their interface was down: %s", n, closed[0].Text)
	}
	return out
}

// settings is how eth0 is set, as ethtool tells it, and what the journals of zctap
// have.
func (r *rig) settings() string {
	r.Helper()
	res := r.do(script("for f in -l -g -x -n -k; do ethtool $f eth0; done", "for f in /run/zctap/nic/*.journal; do if [ -e $f ]; then cat $f; fi; done"))
	return string(res.Steps[0].Stdout)
}

// wantSettings compares them with what they were before.
func (r *rig) wantSettings(before string) {
	r.Helper()
	after := r.settings()
	lines := func(sign, text, other string) (all string) {
		for line := range strings.Lines(text) {
			if !strings.Contains("\n"+other, "\n"+line) {
				all += sign + line
			}
		}
		return all
	}
	if after != before {
		r.Errorf("the NIC is not set as before:\n%s%s", lines("-", before, after), lines("+", after, before))
	}
}
