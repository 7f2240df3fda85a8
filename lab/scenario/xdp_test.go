//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

// nativeXDP sets the NIC so that its driver takes an XDP program: it makes a transmit
// queue for each receive queue in addition, and takes neither packets that were put
// together nor buffers of 4 KiB (gve_main.c, gve_verify_xdp_configuration).
var nativeXDP = []string{
	"ethtool -L eth0 rx 2 tx 2",
	"ethtool -K eth0 rx-gro-hw off",
	"ethtool -G eth0 rx-buf-len 2048",
}

// xdpCases is the part of the conformance suite that runs in zero-copy mode without
// ZCTAP_LAB_LONG=1.
const xdpCases = "Transfer|Dial|HalfClose|SlowReader|SmallMessages|Datagrams"

// nativeXDPTests are the tests in the guest that want the NIC so.
const nativeXDPTests = "^TestLab(XDPNative|XDPZeroCopy|XDPRefused|XDPJumboNIC|ConformanceXDP)$"

// TestLabXDP runs engine user by AF_XDP on the driver of a real NIC.
func TestLabXDP(t *testing.T) {
	inTurn(t, 75)
	r := newEngineRig(t, gvnic.Config{Queues: 4})
	tests := r.addTests("")
	jumbo := r.device(gvnic.Config{Queues: 4, MTU: 9000}, 2)
	r.machine.Devices = append(r.machine.Devices, jumbo)
	r.job.Interfaces = append(r.job.Interfaces, lab.Interface{MAC: mac(jumbo), Name: "eth2", MTU: 1500, Addresses: prefixes("10.78.0.1/24")})
	var set []string
	for _, iface := range []string{"eth0", "eth2"} {
		for _, s := range nativeXDP {
			set = append(set, strings.ReplaceAll(s, "eth0", iface))
		}
	}
	r.start(set...)
	cases := xdpCases
	if long {
		cases = ""
	}
	for _, c := range []struct {
		name string
		run  func(*engineRig)
	}{
		{"native", guestTest(tests, "^TestLabXDPNative$")},
		{"zero-copy", guestTest(tests, "^TestLabXDPZeroCopy$")},
		{"refused", guestTest(tests, "^TestLabXDPRefused$")},
		{"jumbo NIC", guestTest(tests, "^TestLabXDPJumboNIC$")},
		{"conformance", guestTest(tests, "^TestLabConformanceXDP$/^("+cases+")$")},
		{"device reset", (*engineRig).xdpReset},
		{"device reset in zero-copy mode", (*engineRig).xdpResetZeroCopy},
		{"link down", (*engineRig).xdpFlap},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &engineRig{r.sub(t)}
			before := r.settings()
			c.run(r)
			r.wantSettings(before)
		})
	}
}

func guestTest(program, pattern string) func(*engineRig) {
	return func(r *engineRig) {
		r.Helper()
		if out := r.runTests(program, pattern); strings.Contains(out, "--- SKIP") {
			r.Error("tests were skipped")
		}
	}
}

// xdpStream is stream by AF_XDP in a mode.
func xdpStream(mode string, bytes int) []lab.Step {
	steps := stream(bytes)
	var args []string
	for i := 0; i < len(steps[0].Args); i++ {
		switch a := steps[0].Args[i]; a {
		case "zcrx":
			args = append(args, "user", "--xdp-mode", mode)
		case "--queue":
			i++ // all
		default:
			args = append(args, a)
		}
	}
	steps[0].Args = args
	return steps
}

// xdpMidstream is midstream for a stream by any queue that is longer than 20 MB, with the event
// "now".
func (r *engineRig) xdpMidstream() lab.Step {
	r.hold(20_000_000)
	return background("lab-event received 10000000", "lab-event now", letGo)
}

// xdpDuring receives a stream in whose midst now is called.
func (r *engineRig) xdpDuring(mode string, bytes int, now func(context.Context) error) *report {
	r.Helper()
	return r.report(r.doing(lab.Job{Steps: append([]lab.Step{r.xdpMidstream()}, xdpStream(mode, bytes)...), OnEvent: r.events(now)}))
}

// wantXDP checks that a stream came as it was sent, in that mode. Of a stream that comes
// faster than it is read some short segments may be put together by a copy.
func (r *engineRig) wantXDP(got *report, mode string, bytes int) {
	r.Helper()
	r.wantAllBy("user", got, bytes)
	if got.XDPMode != mode {
		r.Errorf("AF_XDP in mode %q, want %q", got.XDPMode, mode)
	}
	if got.CopiedBytes > bytes/1000 {
		r.Errorf("%d bytes were copied", got.CopiedBytes)
	}
}

// xdpReset: the device is reset in mid-stream. What is sent meanwhile the driver
// refuses. In copy mode: see xdpResetZeroCopy.
func (r *engineRig) xdpReset() {
	const bytes = 32 << 20
	before := r.resets()
	got := r.xdpDuring("copy", bytes, r.resetDevice)
	delete(got.Drops, "driver-refused-to-send")
	r.wantXDP(got, "copy", bytes)
	if r.resets() == before {
		r.Error("the driver did not reset the device")
	}
}

// xdpResetZeroCopy: in zero-copy mode this driver sends nothing any more after a reset, because
// it has forgotten whose memory its queues have (gve_init_priv makes xsk_pools anew). The
// receiver ends, and says what to do; the next one receives.
func (r *engineRig) xdpResetZeroCopy() {
	const bytes = 32 << 20
	before := r.resets()
	// At a port of its own: the connection, of whose end nobody can be told, lives on in the
	// peer's kernel, which goes on sending again, and a later receiver at its port would count what is
	// for no connection.
	ends := xdpStream("zerocopy", bytes)
	for _, s := range ends {
		for i, a := range s.Args {
			s.Args[i] = strings.Replace(a, fmt.Sprintf(":%d", port), fmt.Sprintf(":%d", port+1), 1)
		}
	}
	receiver, sender := ends[0], ends[1]
	receiver.Background, receiver.MayFail = false, true
	// The sender learns of the end when it sends again, much later.
	sender.Background, sender.Stop, sender.MayFail = true, true, true
	res := r.doing(lab.Job{Steps: []lab.Step{r.xdpMidstream(), sender, receiver}, OnEvent: r.events(r.resetDevice)})
	got := res.Step("receiver")
	if said := string(got.Stderr); got.ExitCode == 0 || !strings.Contains(said, "close and open again") {
		r.Errorf("the receiver ended with %d, and does not say what to do: %s", got.ExitCode, said)
	}
	if r.resets() == before {
		r.Error("the driver did not reset the device")
	}
	r.wantXDP(r.report(r.doing(lab.Job{Steps: xdpStream("zerocopy", bytes), OnEvent: r.events(nil)})), "zerocopy", bytes)
}

// xdpFlap: the link goes down for a while in mid-stream.
func (r *engineRig) xdpFlap() {
	const bytes = 32 << 20
	before := r.nic.Stats().LinkChanges
	got := r.xdpDuring("zerocopy", bytes, r.flapLink)
	r.wantXDP(got, "zerocopy", bytes)
	if r.nic.Stats().LinkChanges < before+2 {
		r.Error("the link stayed up")
	}
}
