package zctap_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
)

// TestNSXDPQueues: connections that the interface spreads over its queues are all
// received into one region.
func TestNSXDPQueues(t *testing.T) {
	for _, queues := range [][]int{nil, {1, 0}} {
		t.Run(fmt.Sprint(queues), func(t *testing.T) {
			const conns, bytes = 24, 200_000
			w := newWorld(t, netns.VethOptions{Queues: 2})
			q := w.open(zctap.XDPConfig{Queues: queues}, 2048)
			ln := w.listen(q)
			var wg sync.WaitGroup
			for i := range conns {
				c, z := w.connect(ln)
				z.SetReadDeadline(time.Now().Add(patience))
				p := pattern.New(uint64(i + 1))
				wg.Go(func() {
					if _, err := io.Copy(c, p.Reader(bytes)); err != nil {
						t.Error(err)
					}
					c.CloseWrite()
				})
				wg.Go(func() {
					got, err := io.ReadAll(z)
					if err != nil || len(got) != bytes || p.Mismatches(got, 0) != 0 {
						t.Errorf("connection %d: %d bytes, %v", i, len(got), err)
					}
					z.Close()
				})
			}
			wg.Wait()
			s := q.Stats()
			first, second := s.Events["xdp-queue-0-frames"], s.Events["xdp-queue-1-frames"]
			if first == 0 || second == 0 || first+second != s.Frames {
				t.Errorf("%d frames by queue 0 and %d by queue 1, of %d", first, second, s.Frames)
			}
			ln.Close()
			w.close(q)
		})
	}
}

func init() { roles["counter"] = counter }

// counter receives the datagrams that come to port 7000. To each line that it is
// sent it answers with its counters.
func counter() error {
	q, err := zctap.Open(zctap.Config{Engine: zctap.User, Interface: "veth0", Buffers: 512, XDP: &zctap.XDPConfig{}})
	if err != nil {
		return err
	}
	p, err := q.ListenPacket("udp4", ":7000")
	if err != nil {
		return err
	}
	go func() {
		for b := make([]byte, 2000); ; {
			if _, err := p.Read(b); err != nil {
				return
			}
		}
	}()
	for in := bufio.NewScanner(os.Stdin); ; {
		if err := json.NewEncoder(os.Stdout).Encode(q.Stats()); err != nil {
			return err
		}
		if !in.Scan() {
			return q.Close()
		}
	}
}

// TestNSXDPOverflow: what the sockets' rings have no room for is counted. All that
// was sent was received, or is what XDP_STATISTICS has as dropped, to the frame.
func TestNSXDPOverflow(t *testing.T) {
	const burst = 500 // a region of 512 buffers has far fewer in its fill ring
	w := newWorld(t, netns.VethOptions{})
	r := w.child("counter")
	r.start(w.ours)
	stats := func() (s zctap.Stats) {
		t.Helper()
		if err := json.Unmarshal([]byte(r.line()), &s); err != nil {
			t.Fatalf("the receiver: %v: %s", err, r.errs)
		}
		return s
	}
	stats() // it is ready
	var c net.Conn
	w.in(w.theirs, func() (err error) { c, err = net.Dial("udp", "10.89.0.2:7000"); return err })
	defer c.Close()
	sent, before := uint64(0), uint64(0)
	for range 3 {
		// While the process stands still nobody takes frames out of the rings.
		r.halt()
		for range burst {
			if _, err := c.Write(make([]byte, 1400)); err != nil {
				t.Fatal(err)
			}
		}
		sent += burst
		r.signal(syscall.SIGCONT)
		var s zctap.Stats
		var dropped uint64
		w.eventually("each frame is received, or counted as dropped", func() bool {
			fmt.Fprintln(r.in)
			s = stats()
			dropped = s.Events["xdp-rx-dropped"] + s.Events["xdp-rx-ring-full"]
			return s.Frames+dropped >= sent
		})
		if s.Frames+dropped != sent || s.Drops["driver-no-buffer"] != dropped || s.Events["steering-redirect-listener"] != sent {
			t.Errorf("%d sent; %d received, %d dropped; %v %v", sent, s.Frames, dropped, s.Drops, s.Events)
		}
		if n := dropped - before; n == 0 || n >= burst {
			t.Errorf("%d of %d dropped", n, burst)
		}
		before = dropped
		if s.Events["xdp-fill-ring-empty"] == 0 || s.Events["xdp-rx-invalid"] != 0 {
			t.Errorf("%d frames; %v", s.Frames, s.Events)
		}
	}
	r.finish()
}

func (c *child) signal(s syscall.Signal) {
	c.w.Helper()
	if err := c.Process.Signal(s); err != nil {
		c.w.Fatal(err)
	}
}

// halt stops the process, as by job control, and waits until it stands still.
func (c *child) halt() {
	c.w.Helper()
	c.signal(syscall.SIGSTOP)
	c.w.eventually("the process stands still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.Process.Pid))
		if err != nil || len(threads) == 0 {
			c.w.Fatalf("the process has ended: %v", err)
		}
		for _, file := range threads {
			b, err := os.ReadFile(file)
			if _, state, _ := strings.Cut(string(b), ") "); err != nil || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}
