//go:build linux

package scenario

import (
	"context"
	"testing"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

// TestLabZCRX runs the scenarios of engine zcrx that need a hand at the NIC, on one
// machine. Each leaves the NIC's settings as they were.
func TestLabZCRX(t *testing.T) {
	inTurn(t, 70)
	r := newEngineRig(t, gvnic.Config{})
	r.start()
	for _, c := range []struct {
		name string
		run  func(*engineRig)
	}{
		{"gigabyte", (*engineRig).gigabyte},
		{"device reset", (*engineRig).reset},
		{"link down", (*engineRig).flap},
		{"steering moves", (*engineRig).missteered},
		{"killed and restarted", (*engineRig).restart},
		{"killed and restarted, two rings", (*engineRig).restartRings},
		{"killed and restored", (*engineRig).restore},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &engineRig{r.sub(t)}
			before := r.settings()
			c.run(r)
			r.wantSettings(before)
		})
	}
}

// gigabyte: of a long stream no byte is wrong and none is copied, and it lies where
// the NIC put it.
func (r *engineRig) gigabyte() {
	const bytes = 1_000_000_000
	before := r.nic.Stats().Rx[queue].PayloadBytes
	got := r.report(r.do(stream(bytes, "--page-frames", framesFile)...))
	r.do(script("rm " + framesFile))
	r.wantAll(got, bytes)
	r.wantNoCopy(got)
	r.wantFrames(got.frames)
	if n := r.nic.Stats().Rx[queue].PayloadBytes - before; n < bytes {
		r.Errorf("the NIC wrote %d bytes of payload to queue %d", n, queue)
	}
}

// during receives a stream beside a step in the background, for whose event "now" it
// calls now.
func (r *engineRig) during(bytes int, step lab.Step, now func(context.Context) error) *report {
	r.Helper()
	return r.report(r.doing(lab.Job{Steps: append([]lab.Step{step}, stream(bytes)...), OnEvent: r.events(now)}))
}

// reset: the device is reset.
func (r *engineRig) reset() {
	const bytes = 64 << 20
	before := r.resets()
	got := r.during(bytes, r.midstream("lab-event now"), r.resetDevice)
	r.wantAll(got, bytes)
	if r.resets() == before {
		r.Error("the driver did not reset the device")
	}
}

// flap: the link goes down for a while.
func (r *engineRig) flap() {
	const bytes = 64 << 20
	before := r.nic.Stats().LinkChanges
	got := r.during(bytes, r.midstream("lab-event now"), r.flapLink)
	r.wantAll(got, bytes)
	if r.nic.Stats().LinkChanges < before+2 {
		r.Error("the link stayed up")
	}
}

// missteered: the engine's rule is deleted, and made anew. What comes in by another
// queue is copied, and counted.
func (r *engineRig) missteered() {
	const bytes = 64 << 20
	before := r.nic.Stats().Rx[0].PayloadBytes
	move := r.steerAway(
		"n=$(ethtool -n eth0 | sed -n 's/^Filter: //p'); ethtool -N eth0 delete $n",
		"ethtool -N eth0 flow-type tcp4 dst-ip "+receiverAddr+" dst-port 9999 action 1 loc $n",
	)
	got := r.during(bytes, move, nil)
	r.wantAll(got, bytes)
	elsewhere := r.nic.Stats().Rx[0].PayloadBytes - before
	if elsewhere == 0 || got.CopiedBytes == 0 || got.CopiedBytes >= bytes {
		r.Errorf("%d bytes came in by another queue, and %d count as copied", elsewhere, got.CopiedBytes)
	}
}
