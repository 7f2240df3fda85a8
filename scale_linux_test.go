package zctap_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/testenv"
)

// scale is full with the environment variable ZCTAP_SCALE, else what takes a moment.
func scale(full, short int) int { return testenv.Scale("ZCTAP_SCALE", full, short) }

// echoPair opens a pair whose first queue echoes on port 80.
func echoPair(t *testing.T) (server, client *zctap.Queue) {
	t.Helper()
	server, client, err := zctap.OpenPair(zctap.Config{}, zctap.Config{})
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, server, ":80")
	t.Cleanup(func() {
		for _, q := range []*zctap.Queue{client, server} {
			closeWhole(t, q)
		}
	})
	return server, client
}

// echoes has q echo what comes to an address, until q is closed.
func echoes(t *testing.T, q *zctap.Queue, addr string) {
	t.Helper()
	l, err := q.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
}

// wantEcho sends p and wants it back.
func wantEcho(c net.Conn, p []byte) error {
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write(p); err != nil {
		return err
	}
	got := make([]byte, len(p))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != string(p) {
		return errors.New("other bytes came back")
	}
	return nil
}

// TestShortConnections: one connection after the other, from a few callers at a time,
// more than there are ports: those in TIME-WAIT are used again when they may be.
func TestShortConnections(t *testing.T) {
	n := scale(100_000, 2_000)
	server, client := echoPair(t)
	const callers = 16
	var wg sync.WaitGroup
	for k := range callers {
		wg.Go(func() {
			for i := k; i < n; i += callers {
				c, err := client.Dial("tcp", net.JoinHostPort(pairA4.String(), "80"))
				if err == nil {
					err = errors.Join(wantEcho(c, []byte("a short one")), c.CloseWrite())
					if _, e := c.Read(make([]byte, 1)); e != io.EOF {
						err = errors.Join(err, e)
					}
					err = errors.Join(err, c.Close())
				}
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	s, c := server.Stats(), client.Stats()
	t.Logf("%d connections; the client keeps %d, the server %d; %d ended early in TIME-WAIT", n, c.Conns, s.Conns, c.Events["time-wait-overflows"])
	if got := s.Events["passive-opens"]; got != uint64(n) {
		t.Errorf("%d connections accepted, want %d", got, n)
	}
}

// TestConcurrentConnections: all open at the same time, each with its own bytes.
func TestConcurrentConnections(t *testing.T) {
	n := scale(10_000, 500)
	server, client := echoPair(t)
	conns := make([]*zctap.Conn, n)
	for i := range conns {
		c, err := client.Dial("tcp", net.JoinHostPort(pairA4.String(), "80"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns[i] = c
	}
	if got := server.Stats().Conns; got != n {
		t.Errorf("the server has %d connections, want %d", got, n)
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			p := make([]byte, 3000)
			for k := range p {
				p[k] = byte(i + i>>8*7 + k)
			}
			for range 3 {
				if err := wantEcho(c, p); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, c := range conns {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
