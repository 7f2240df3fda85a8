//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

// TestLabFaults: what a bad wire or a bad NIC does to packets costs time, and
// neither a byte nor a copy.
func TestLabFaults(t *testing.T) {
	r := newRig(t, gvnic.Config{})
	// Of corruptbad: when the NIC says that a checksum is wrong the kernel now and
	// then has a look itself, and finds that it can't read the payload.
	r.machine.Known = append(r.machine.Known, lab.Known{
		Match: regexp.MustCompile(`\AWARNING: .*net/core/skbuff\.c:\d+ .*skb_checksum`),
		Why:   "the checksum of payload in device memory can't be verified in software; the packet is dropped, which is right",
	})
	r.boot()
	for _, c := range []struct {
		faults  gvnic.Faults
		counted func(s gvnic.Stats) uint64
	}{
		{gvnic.Faults{Drop: 0.02, Seed: 1}, func(s gvnic.Stats) uint64 { return s.Injected.Dropped }},
		{gvnic.Faults{Duplicate: 0.02, Seed: 2}, func(s gvnic.Stats) uint64 { return s.Injected.Duplicated }},
		{gvnic.Faults{Reorder: 0.05, Seed: 3}, func(s gvnic.Stats) uint64 { return s.Injected.Reordered }},
		{gvnic.Faults{CorruptBad: 0.01, Seed: 4}, func(s gvnic.Stats) uint64 { return s.Injected.Corrupted }},
	} {
		r.setFaults(c.faults)
		before := c.counted(r.nic.Stats())
		r.receive(variant{name: c.faults.String()})
		if c.counted(r.nic.Stats()) == before {
			t.Errorf("fault %s did not come to pass", c.faults)
		}
		r.setFaults(gvnic.Faults{})
	}
}

func (r *rig) setFaults(f gvnic.Faults) {
	r.Helper()
	if err := r.nic.SetFaults(f); err != nil {
		r.Fatal(err)
	}
}

// TestLabNoSplit: a NIC that stops splitting headers from payload leaves the
// kernel with headers that it can't read. The transfer stalls or is copied; it
// must not look like zero-copy.
func TestLabNoSplit(t *testing.T) {
	r := newRig(t, gvnic.Config{})
	r.boot()
	r.setFaults(gvnic.Faults{NoSplit: true})
	steps := transfer{bytes: 1_000_000, pages: 1024}.steps()
	for i := range steps {
		steps[i].Timeout, steps[i].MayFail = 6*time.Second, true
	}
	res := r.do(steps...)
	if s := r.nic.Stats(); s.Injected.Unsplit == 0 && s.Rx[queue].Unsplit == 0 {
		t.Error("the NIC split every packet")
	}
	got := res.Step("receiver")
	if got.ExitCode == 0 && !got.TimedOut && !got.Stopped {
		if rec := r.result(res); rec.CopiedBytes == 0 {
			t.Errorf("%d bytes were received as if without a copy", rec.Bytes)
		}
		return
	}
	t.Logf("the transfer stalled, as it does when the kernel gets headers that it can't read")
}

// TestLabSteeringMoves: flows are steered away from the queue and back while a
// stream comes in. What comes by another queue the kernel copies, and counts.
func TestLabSteeringMoves(t *testing.T) {
	const bytes = 60_000_000
	r := newRig(t, gvnic.Config{})
	r.boot()
	steps := transfer{bytes: bytes, pages: 4096}.steps()
	move := script(
		"sleep 0.3",
		"ethtool -N eth0 delete $(ethtool -n eth0 | sed -n 's/^Filter: //p')",
		"sleep 0.5",
		steer,
	)
	move.Background = true
	got := r.result(r.do(move, steps[0], steps[1]))
	if got.Bytes != bytes || got.Mismatches != 0 {
		t.Errorf("%d of %d bytes, %d wrong", got.Bytes, bytes, got.Mismatches)
	}
	if got.CopiedBytes == 0 || got.CopiedBytes >= bytes {
		t.Errorf("%d of %d bytes copied: the flow was to be moved for a part of the time", got.CopiedBytes, bytes)
	}
	if s := r.nic.Stats(); s.Rx[0].PayloadBytes == 0 {
		t.Error("nothing came in by queue 0")
	}
}

// TestLabDeviceReset: the device asks for a reset in the middle of a stream. The
// driver makes its queues anew, the one of the area too, and the stream goes on.
func TestLabDeviceReset(t *testing.T) {
	const bytes = 60_000_000
	r := newRig(t, gvnic.Config{})
	r.boot()
	job := lab.Job{Steps: transfer{bytes: bytes, pages: 4096}.steps()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// When a part of it has come.
		for r.nic.Stats().Rx[queue].PayloadBytes < bytes/10 {
			time.Sleep(10 * time.Millisecond)
			if r.Context().Err() != nil {
				return
			}
		}
		if err := r.nic.SetFaults(gvnic.Faults{Reset: true}); err != nil {
			t.Error(err)
		}
	}()
	resets := r.nic.Stats().DriverResets + r.nic.Stats().BusResets
	got := r.result(r.doing(job))
	<-done
	if got.Bytes != bytes || got.Mismatches != 0 {
		t.Errorf("%d of %d bytes, %d wrong", got.Bytes, bytes, got.Mismatches)
	}
	if s := r.nic.Stats(); s.DriverResets+s.BusResets == resets {
		t.Error("the driver did not reset the device")
	}
}

// TestLabNoDevice runs the same receiver without a NIC: the kernel copies each
// byte, and says so.
func TestLabNoDevice(t *testing.T) {
	const bytes = 16_000_000
	r := newRig(t, gvnic.Config{})
	r.machine.Devices, r.machine.Modules, r.job.Interfaces = nil, nil, nil
	res, err := lab.Run(t.Context(), r.machine, lab.Job{Steps: transfer{iface: "nodev", bytes: bytes, pages: 1024}.steps(), Timeout: jobTimeout})
	if err != nil {
		t.Fatal(err)
	}
	got := r.result(res)
	if got.Bytes != bytes || got.Mismatches != 0 || got.CopiedBytes != bytes {
		t.Errorf("%d of %d bytes, %d wrong, %d copied", got.Bytes, bytes, got.Mismatches, got.CopiedBytes)
	}
}

// TestLabGuestKilled: the guest dies in the middle of a stream. The run says so,
// and the devices are free for another machine.
func TestLabGuestKilled(t *testing.T) {
	r := newRig(t, gvnic.Config{})
	r.boot()
	r.mayDie = true
	crash := script("sleep 0.2", "echo c > /proc/sysrq-trigger")
	crash.Background = true
	steps := transfer{bytes: 1_000_000_000, pages: 4096}.steps()
	_, err := r.vm.Run(r.Context(), lab.Job{Steps: []lab.Step{crash, steps[0], steps[1]}, Timeout: jobTimeout})
	var died *lab.MachineError
	if !errors.Is(err, lab.ErrPanic) || !errors.As(err, &died) {
		t.Fatalf("the guest's kernel panicked, and the run said: %v", err)
	}
	if err := r.vm.Close(); err == nil {
		t.Error("Close of a machine that has died is silent")
	}
	vm, err := lab.Boot(context.Background(), r.machine)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	r.vm = vm
	setup := r.job
	setup.Steps = append(setup.Steps, script(prepare...))
	if _, err := vm.Run(t.Context(), setup); err != nil {
		t.Fatal(fmt.Errorf("the devices' second machine: %w", err))
	}
	r.receive(variant{name: "on the second machine"})
}
