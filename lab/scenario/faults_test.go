//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

// A fault is what a bad wire or a bad NIC does to packets. It costs time, and
// neither a byte nor a copy.
type fault struct {
	faults  gvnic.Faults
	counted func(gvnic.Injected) uint64
}

var wireFaults = []fault{
	{gvnic.Faults{Drop: 0.02, Seed: 1}, func(s gvnic.Injected) uint64 { return s.Dropped }},
	{gvnic.Faults{Duplicate: 0.02, Seed: 2}, func(s gvnic.Injected) uint64 { return s.Duplicated }},
	{gvnic.Faults{Reorder: 0.05, Seed: 3}, func(s gvnic.Injected) uint64 { return s.Reordered }},
	{gvnic.Faults{CorruptBad: 0.01, Seed: 4}, func(s gvnic.Injected) uint64 { return s.Corrupted }},
}

// unreadableChecksum is of corruptbad: when the NIC says that a checksum is wrong
// the kernel now and then has a look itself, and finds that it can't read the payload.
var unreadableChecksum = lab.Known{
	Match: regexp.MustCompile(`\AWARNING: .*net/core/skbuff\.c:\d+ .*skb_checksum`),
	Why:   "the checksum of payload in device memory can't be verified in software; the packet is dropped, which is right",
}

func (r *rig) receiveDespite(f fault) {
	r.setFaults(f.faults)
	defer r.setFaults(gvnic.Faults{})
	before := f.counted(r.nic.Stats().Injected)
	r.receive(variant{})
	if f.counted(r.nic.Stats().Injected) == before {
		r.Error("it did not come to pass")
	}
}

func (r *rig) setFaults(f gvnic.Faults) {
	r.Helper()
	if err := r.nic.SetFaults(f); err != nil {
		r.Fatal(err)
	}
}

// noSplit: a NIC that stops splitting headers from payload leaves the kernel with
// headers that it can't read. The transfer stalls or is copied; it must not look
// like zero-copy.
func (r *rig) noSplit() {
	before := r.nic.Stats().Injected.Unsplit
	r.setFaults(gvnic.Faults{NoSplit: true})
	defer r.setFaults(gvnic.Faults{})
	steps := transfer{bytes: 1_000_000, pages: 1024}.steps()
	for i := range steps {
		steps[i].Background, steps[i].Stop, steps[i].MayFail = true, true, true
	}
	// Until the NIC has done wrong, and as long as a transfer takes that does not stall.
	steps = append(steps, script("lab-event unsplit", "sleep 4"))
	res := r.doing(lab.Job{Steps: steps, OnEvent: r.events(nil)})
	if r.nic.Stats().Injected.Unsplit == before {
		r.Error("the NIC split every packet")
	}
	got := res.Step("receiver")
	if got.ExitCode == 0 && !got.TimedOut && !got.Stopped {
		if rec := r.result(res); rec.CopiedBytes == 0 {
			r.Errorf("%d bytes were received as if without a copy", rec.Bytes)
		}
		return
	}
	r.Logf("the transfer stalled, as it does when the kernel gets headers that it can't read")
}

// steeringMoves: flows are steered away from the queue and back while a stream
// comes in. What comes by another queue the kernel copies, and counts.
func (r *rig) steeringMoves() {
	const bytes = 60_000_000
	elsewhere := r.nic.Stats().Rx[0].PayloadBytes
	steps := transfer{bytes: bytes, pages: 4096}.steps()
	move := r.steerAway("ethtool -N eth0 delete $(ethtool -n eth0 | sed -n 's/^Filter: //p')", steer)
	got := r.result(r.doing(lab.Job{Steps: []lab.Step{move, steps[0], steps[1]}, OnEvent: r.events(nil)}))
	if got.Bytes != bytes || got.Mismatches != 0 {
		r.Errorf("%d of %d bytes, %d wrong", got.Bytes, bytes, got.Mismatches)
	}
	if got.CopiedBytes == 0 || got.CopiedBytes >= bytes {
		r.Errorf("%d of %d bytes copied: the flow was to be moved for a part of the time", got.CopiedBytes, bytes)
	}
	if r.nic.Stats().Rx[0].PayloadBytes == elsewhere {
		r.Error("nothing came in by queue 0")
	}
}

// deviceReset: the device asks for a reset in the middle of a stream. The driver
// makes its queues anew, the one of the area too, and the stream goes on.
func (r *rig) deviceReset() {
	const bytes = 60_000_000
	before := r.resets()
	steps := transfer{bytes: bytes, pages: 4096}.steps()
	got := r.result(r.doing(lab.Job{
		Steps:   []lab.Step{r.midstream("lab-event now"), steps[0], steps[1]},
		OnEvent: r.events(r.resetDevice),
	}))
	if got.Bytes != bytes || got.Mismatches != 0 {
		r.Errorf("%d of %d bytes, %d wrong", got.Bytes, bytes, got.Mismatches)
	}
	if r.resets() == before {
		r.Error("the driver did not reset the device")
	}
}

// resetDevice has the device ask for a reset, and waits until the driver has done it.
func (r *rig) resetDevice(ctx context.Context) error {
	before := r.resets()
	if err := r.nic.SetFaults(gvnic.Faults{Reset: true}); err != nil {
		return err
	}
	for r.resets() == before {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// flapLink has the link go down for a while, when the device sees to it: before it takes
// another frame from the wire.
func (r *rig) flapLink(context.Context) error {
	return r.nic.SetFaults(gvnic.Faults{Flap: flapTime})
}

// resets is how often the device was reset.
func (r *rig) resets() uint64 {
	s := r.nic.Stats()
	return s.DriverResets + s.BusResets
}

// noDevice runs the same receiver without a NIC: the kernel copies each byte, and
// says so.
func (r *rig) noDevice() {
	const bytes = 16_000_000
	got := r.result(r.do(transfer{iface: "nodev", bytes: bytes, pages: 1024}.steps()...))
	if got.Bytes != bytes || got.Mismatches != 0 || got.CopiedBytes != bytes {
		r.Errorf("%d of %d bytes, %d wrong, %d copied", got.Bytes, bytes, got.Mismatches, got.CopiedBytes)
	}
}

// guestKilled: the guest dies in the middle of a stream. The run says so, and the
// devices are free for another machine.
func (r *rig) guestKilled() {
	r.mayDie = true
	// A reset makes the driver forget its rules, and spread flows over all queues.
	r.do(script(prepare...))
	steps := transfer{bytes: 1_000_000_000, pages: 4096}.steps()
	res, err := r.vm.Run(r.Context(), lab.Job{
		Steps:   []lab.Step{r.midstream("echo c > /proc/sysrq-trigger"), steps[0], steps[1]},
		OnEvent: r.events(nil),
		Timeout: jobTimeout,
	})
	var died *lab.MachineError
	if !errors.Is(err, lab.ErrPanic) || !errors.As(err, &died) {
		r.Fatalf("the guest's kernel panicked, and the run said: %v; %+v", err, res)
	}
	if err := r.vm.Close(); err == nil {
		r.Error("Close of a machine that has died is silent")
	}
	r.gate.open()
	vm, err := lab.Boot(context.Background(), r.machine)
	if err != nil {
		r.Fatal(err)
	}
	defer func() {
		if err := vm.Close(); err != nil && !r.Failed() {
			r.Error(err)
		}
	}()
	r.vm = vm
	setup := r.job
	setup.Steps = append(setup.Steps, script(prepare...))
	if _, err := vm.Run(r.Context(), setup); err != nil {
		r.Fatal(fmt.Errorf("the devices' second machine: %w", err))
	}
	r.receive(variant{})
}
