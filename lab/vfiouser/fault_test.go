//go:build linux

package vfiouser_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// A hostile client shortens the file behind its memory. It loses its device;
// this process, in which the tests run, goes on.

// startMapped starts a device that has memory, with a page of it in use.
func startMapped(t *testing.T) (*dmaDevice, *vfiousertest.Client, *vfiousertest.Memory, func() error) {
	t.Helper()
	dev := newDevice()
	c, done := vfiousertest.StartRaw(t, dev)
	if _, err := c.Negotiate(); err != nil {
		t.Fatal(err)
	}
	m := mustMap(t, c, ram, 1<<16)
	if _, err := do(c, doFill, ram, 1<<16, 1); err != nil {
		t.Fatal(err)
	}
	return dev, c, m, done
}

// TestFaultInMethod: the fault is in a method that the server has called.
func TestFaultInMethod(t *testing.T) {
	for _, tt := range []struct {
		name    string
		command uint32
	}{{"read", doSum}, {"write", doFill}, {"load", doLoad}, {"store", doStore}} {
		t.Run(tt.name, func(t *testing.T) {
			noNewFDs(t)
			before := guestMappings(t)
			dev, c, m, done := startMapped(t)
			if err := m.Truncate(1 << 12); err != nil {
				t.Fatal(err)
			}
			if _, err := do(c, tt.command, ram, 1<<12, 1); err != nil {
				t.Errorf("what is still there: %v", err)
			}
			if _, err := do(c, tt.command, ram+1<<12, 1<<12, 1); err == nil {
				t.Error("an access to what is gone succeeds")
			}
			if err := done(); !errors.Is(err, vfiouser.ErrFault) {
				t.Errorf("the server ended with %v, want ErrFault", err)
			}
			if got, want := dev.called(), "Attach Reset Detach"; got != want {
				t.Errorf("calls: %s, want %s", got, want)
			}
			c.Close()
			if n := guestMappings(t); n != before {
				t.Errorf("%d mappings of guest memory are left", n-before)
			}
		})
	}
}

// TestFaultInDo: the fault is in what the device does by itself, and ends a
// connection on which nothing is going on.
func TestFaultInDo(t *testing.T) {
	noNewFDs(t)
	dev, _, m, done := startMapped(t)
	if err := m.Truncate(0); err != nil {
		t.Fatal(err)
	}
	err := dev.bus.Do(func() error {
		mem, err := dev.bus.Memory(ram+5, 10)
		if err != nil {
			return err
		}
		copy(mem, "0123456789")
		t.Error("an access to what is gone succeeds")
		return nil
	})
	if !errors.Is(err, vfiouser.ErrFault) {
		t.Errorf("Do: %v, want ErrFault", err)
	}
	if err := done(); !errors.Is(err, vfiouser.ErrFault) {
		t.Errorf("the server ended with %v, want ErrFault", err)
	}
	if err := dev.bus.Do(func() error { t.Error("Do runs"); return nil }); !errors.Is(err, vfiouser.ErrDetached) {
		t.Errorf("Do afterwards: %v, want ErrDetached", err)
	}
}

// TestFaultReadOnly: writing to memory that is shared for reading.
func TestFaultReadOnly(t *testing.T) {
	c, done := vfiousertest.StartRaw(t, newDevice())
	if _, err := c.Negotiate(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Do(vfiousertest.CmdDMAMap, vfiousertest.MapBody(vfiousertest.MapRead, 0, ram, 4096), memfd(t, 4096))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := do(c, doFill, ram, 1, 1); err == nil {
		t.Error("a write to read-only memory succeeds")
	}
	if err := done(); !errors.Is(err, vfiouser.ErrFault) {
		t.Errorf("the server ended with %v, want ErrFault", err)
	}
}

// TestFaultNext: the device serves another client afterwards.
func TestFaultNext(t *testing.T) {
	dev := newDevice()
	s, err := vfiouser.NewServer(dev)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		client, server := vfiousertest.Pair(t)
		ended := make(chan error, 1)
		go func() { ended <- s.ServeConn(t.Context(), server) }()
		c := vfiousertest.NewClient(client)
		if _, err := c.Negotiate(); err != nil {
			t.Fatal(err)
		}
		m := mustMap(t, c, ram, 4096)
		if _, err := do(c, doFill, ram, 1, 1); err != nil {
			t.Error(err)
		}
		if err := m.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := do(c, doFill, ram, 1, 1); err == nil {
			t.Error("an access to what is gone succeeds")
		}
		if err := <-ended; !errors.Is(err, vfiouser.ErrFault) {
			t.Errorf("the server ended with %v, want ErrFault", err)
		}
		c.Close()
	}
}

// TestFaultRace: one goroutine truncates and grows the file while the device
// works: each access succeeds or ends the connection.
func TestFaultRace(t *testing.T) {
	dev, c, m, done := startMapped(t)
	stop := make(chan struct{})
	truncated := make(chan struct{})
	go func() {
		defer close(truncated)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Ftruncate(m.FD, 0)
				unix.Ftruncate(m.FD, 1<<16)
			}
		}
	}()
	end := time.Now().Add(5 * time.Second)
	for time.Now().Before(end) {
		if dev.bus.Do(func() error {
			mem, err := dev.bus.Memory(ram, 1<<16)
			if err == nil {
				clear(mem)
			}
			return err
		}) != nil {
			break
		}
	}
	close(stop)
	<-truncated // before the memory's file is closed
	c.Close()
	if err := done(); err != nil && !errors.Is(err, vfiouser.ErrFault) {
		t.Errorf("the server ended with %v", err)
	}
}
