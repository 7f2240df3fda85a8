//go:build linux

package scenario

import "github.com/zctap/zctap/lab/gvnic"

// A variant is a transfer under some settings of the NIC and of the area.
type variant struct {
	name   string
	script []string // shell commands before it
	bytes  int      // 0: 16 MB
	pages  int      // of the area; 0: 4096
	check  func(r *rig, before gvnic.RxStats, got *received)
}

// mtu sets it at both ends of the wire.
func mtu(bytes string) []string {
	return []string{"/usr/bin/ip link set eth0 mtu " + bytes, "/usr/bin/ip -n " + senderNetns + " link set eth1 mtu " + bytes}
}

// variants follow each other on one machine.
var variants = []variant{
	{name: "proof", bytes: 100_000_000, check: coalesced(true)},
	{name: "RSC off", script: []string{"ethtool -K eth0 rx-gro-hw off"}, check: coalesced(false)},
	{name: "MTU 9000, RSC off", script: mtu("9000"), check: coalesced(false)},
	{name: "MTU 9000", script: []string{"ethtool -K eth0 rx-gro-hw on"}, check: coalesced(true)},
	{name: "ring of 128", script: append(mtu("1500"), "ethtool -G eth0 rx 128")},
	{name: "ring of 1024", script: []string{"ethtool -G eth0 rx 1024"}},
	{name: "area smaller than the ring", pages: 512, check: short},
}

// receive receives a stream on the running machine.
func (r *rig) receive(v variant) {
	r.Helper()
	if v.bytes == 0 {
		v.bytes = 16_000_000
	}
	if v.pages == 0 {
		v.pages = 4096
	}
	r.do(script(v.script...))
	before := r.nic.Stats().Rx[queue]
	got := r.result(r.do(transfer{bytes: v.bytes, pages: v.pages}.steps()...))
	r.wantZeroCopy(got, v.bytes)
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
