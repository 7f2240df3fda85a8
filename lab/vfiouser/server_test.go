//go:build linux

package vfiouser_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// TestDisconnect: a client that goes away is not an error, at whatever point.
func TestDisconnect(t *testing.T) {
	for _, tt := range []struct {
		name string
		last func(t *testing.T, c *vfiousertest.Client)
	}{
		{"at once", func(*testing.T, *vfiousertest.Client) {}},
		{"negotiated", func(t *testing.T, c *vfiousertest.Client) {
			if _, err := c.Negotiate(); err != nil {
				t.Fatal(err)
			}
		}},
		{"without waiting for replies", func(t *testing.T, c *vfiousertest.Client) {
			if _, err := c.Negotiate(); err != nil {
				t.Fatal(err)
			}
			for range 200 {
				if err := c.Send(vfiousertest.Message(1, vfiousertest.CmdGetInfo, 0, words(16, 0, 0, 0))); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noNewFDs(t)
			dev := newDevice()
			c, done := vfiousertest.StartRaw(t, dev)
			tt.last(t, c)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if err := done(); err != nil {
				t.Errorf("the server ended with %v", err)
			}
			if got, want := dev.called(), "Attach Reset Detach"; got != want {
				t.Errorf("calls: %s, want %s", got, want)
			}
			if _, err := dev.bus.Memory(ram, 1); !errors.Is(err, vfiouser.ErrDetached) {
				t.Errorf("Memory afterwards: %v, want ErrDetached", err)
			}
		})
	}
}

// TestCancel: the context ends a connection on which the server waits for a
// message, and one on which it waits to get rid of replies.
func TestCancel(t *testing.T) {
	t.Run("waiting for a message", func(t *testing.T) { testCancel(t, func(*vfiousertest.Client) {}) })
	t.Run("waiting to reply", func(t *testing.T) {
		testCancel(t, func(c *vfiousertest.Client) {
			for c.Send(vfiousertest.Message(1, vfiousertest.CmdGetInfo, 0, words(16, 0, 0, 0))) == nil {
			}
		})
	})
}

func testCancel(t *testing.T, busy func(c *vfiousertest.Client)) {
	noNewFDs(t)
	client, server := vfiousertest.Pair(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	dev := newDevice()
	go func() { ended <- vfiouser.Serve(ctx, server, dev) }()
	c := vfiousertest.NewClient(client)
	if _, err := c.Negotiate(); err != nil {
		t.Fatal(err)
	}
	mustMap(t, c, ram, 1<<16)
	stuffed := make(chan struct{})
	go func() { defer close(stuffed); busy(c) }()
	time.Sleep(50 * time.Millisecond) // for the sockets' buffers to fill up
	cancel(why)
	select {
	case err := <-ended:
		if !errors.Is(err, why) {
			t.Errorf("the server ended with %v, want the cause", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end")
	}
	if got, want := dev.called(), "Attach Reset Detach"; got != want {
		t.Errorf("calls: %s, want %s", got, want)
	}
	<-stuffed // the sends fail, for the other end is closed
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestBusy: one client at a time.
func TestBusy(t *testing.T) {
	noNewFDs(t)
	s, err := vfiouser.NewServer(newDevice())
	if err != nil {
		t.Fatal(err)
	}
	first, server := vfiousertest.Pair(t)
	ended := make(chan error, 1)
	go func() { ended <- s.ServeConn(t.Context(), server) }()
	c := vfiousertest.NewClient(first)
	if _, err := c.Negotiate(); err != nil {
		t.Fatal(err)
	}
	second, server := vfiousertest.Pair(t)
	if err := s.ServeConn(t.Context(), server); !errors.Is(err, vfiouser.ErrBusy) {
		t.Errorf("a second client: %v, want ErrBusy", err)
	}
	if _, err := vfiousertest.NewClient(second).Negotiate(); err == nil {
		t.Error("the second client is served")
	}
	second.Close()
	wantErrno(t, "the first client", c.Reset(), 0)
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestCycles: many clients come and go, and leave nothing.
func TestCycles(t *testing.T) {
	noNewFDs(t)
	before := guestMappings(t)
	dev := newDevice()
	s, err := vfiouser.NewServer(dev)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		client, server := vfiousertest.Pair(t)
		ended := make(chan error, 1)
		go func() { ended <- s.ServeConn(t.Context(), server) }()
		c := vfiousertest.NewClient(client)
		if _, err := c.Negotiate(); err != nil {
			t.Fatal(err)
		}
		for j := range uint64(3) {
			mustMap(t, c, ram*j, 1<<16)
		}
		if err := c.EnableVectors(20); err != nil {
			t.Fatal(err)
		}
		// The registers are those of a device that was just switched on.
		b := make([]byte, 1)
		if err := c.ReadRegion(vfiousertest.BAR0, 0x100, b); err != nil || b[0] != 0 {
			t.Fatalf("client %d finds %v, %v", i, b, err)
		}
		if err := c.WriteRegion(vfiousertest.BAR0, 0x100, []byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if n := guestMappings(t); n != before {
		t.Errorf("%d mappings of guest memory are left", n-before)
	}
}

// TestBadInfo: what can't be a PCI device is not served.
func TestBadInfo(t *testing.T) {
	for _, tt := range []struct {
		name string
		bad  func(i *vfiouser.Info)
	}{
		{"class of 32 bits", func(i *vfiouser.Info) { i.Class = 1 << 24 }},
		{"BAR of 24 bytes", func(i *vfiouser.Info) { i.BARs[0] = 24 }},
		{"BAR of 8 bytes", func(i *vfiouser.Info) { i.BARs[0] = 8 }},
		{"BAR of 4 GiB", func(i *vfiouser.Info) { i.BARs[5] = 1 << 32 }},
		{"negative vectors", func(i *vfiouser.Info) { i.Vectors = -1 }},
		{"too many vectors", func(i *vfiouser.Info) { i.Vectors = 2049; i.BARs[1] = 1 << 20; i.PBAOff = 1 << 19 }},
		{"no BAR for the table", func(i *vfiouser.Info) { i.TableBAR = 3 }},
		{"table in BAR 6", func(i *vfiouser.Info) { i.TableBAR = 6 }},
		{"table in BAR -1", func(i *vfiouser.Info) { i.TableBAR = -1 }},
		{"table past the end", func(i *vfiouser.Info) { i.TableOffset = 4096 - 16*numVectors + 8; i.PBAOff = 0 }},
		{"table off by 4", func(i *vfiouser.Info) { i.TableOffset = 4 }},
		{"pending bits past the end", func(i *vfiouser.Info) { i.PBAOff = 4096 - 8 }},
		{"pending bits off by 1", func(i *vfiouser.Info) { i.PBAOff = 2049 }},
		{"they overlap", func(i *vfiouser.Info) { i.PBAOff = 16*numVectors - 8 }},
	} {
		dev := newDevice()
		tt.bad(&dev.info)
		if _, err := vfiouser.NewServer(dev); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
		client, server := vfiousertest.Pair(t)
		if err := vfiouser.Serve(t.Context(), server, dev); err == nil {
			t.Errorf("%s: Serve: no error", tt.name)
		}
		if _, err := vfiousertest.NewClient(client).Receive(); err == nil {
			t.Errorf("%s: an answer", tt.name)
		}
		client.Close()
	}
}
