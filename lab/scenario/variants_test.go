//go:build linux

package scenario

import (
	"testing"

	"github.com/zctap/zctap/lab/gvnic"
)

// A variant is a transfer under some settings of the NIC and of the area.
type variant struct {
	name   string
	script []string
	pages  int // of the area; 0: 4096
	check  func(r *rig, before gvnic.RxStats, got *received)
}

// TestLabVariants receives without a copy under other settings of the NIC, of
// the machine and of the area.
func TestLabVariants(t *testing.T) {
	for _, m := range []struct {
		name     string
		nic      gvnic.Config
		cpus     int
		variants []variant
	}{
		{name: "one machine", variants: []variant{
			{name: "RSC off", script: []string{"ethtool -K eth0 rx-gro-hw off"}, check: coalesced(false)},
			{name: "RSC on", script: []string{"ethtool -K eth0 rx-gro-hw on"}, check: coalesced(true)},
			{name: "ring of 128", script: []string{"ethtool -G eth0 rx 128"}},
			{name: "ring of 1024", script: []string{"ethtool -G eth0 rx 1024"}},
			{name: "area smaller than the ring", pages: 512, check: short},
		}},
		{name: "buffers of 2048 bytes", nic: gvnic.Config{BufferSize: 2048}, variants: []variant{{}}},
		{name: "MTU 9000", nic: gvnic.Config{MTU: 9000}, variants: []variant{
			{name: "RSC on"},
			{name: "RSC off", script: []string{"ethtool -K eth0 rx-gro-hw off"}, check: coalesced(false)},
		}},
		{name: "two CPUs", cpus: 2, variants: []variant{{}}},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t, m.nic)
			r.machine.CPUs = m.cpus
			r.boot()
			for _, v := range m.variants {
				r.receive(v)
			}
		})
	}
}

// receive receives a stream on the running machine.
func (r *rig) receive(v variant) {
	r.Helper()
	const bytes = 16_000_000
	if v.pages == 0 {
		v.pages = 4096
	}
	before := r.nic.Stats().Rx[queue]
	r.Log(v.name)
	r.do(script(v.script...))
	got := r.result(r.do(transfer{bytes: bytes, pages: v.pages}.steps()...))
	r.wantZeroCopy(got, bytes)
	if v.check != nil {
		v.check(r, before, got)
	}
}

// coalesced checks whether the NIC has put packets together.
func coalesced(want bool) func(*rig, gvnic.RxStats, *received) {
	return func(r *rig, before gvnic.RxStats, _ *received) {
		r.Helper()
		if n := r.nic.Stats().Rx[queue].Coalesced - before.Coalesced; (n > 0) != want {
			r.Errorf("%d packets were put together, want any: %v", n, want)
		}
	}
}

// short checks that the NIC ran out of buffers, and was told of those that came back.
func short(r *rig, _ gvnic.RxStats, got *received) {
	r.Helper()
	if got.AllocFail == 0 {
		r.Error("the NIC was never short of buffers")
	}
}
