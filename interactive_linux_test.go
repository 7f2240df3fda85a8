package zctap_test

import (
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

// TestNSInteractive: somebody types beside a stream in bulk, and sees what he types: the
// kernel sends a few bytes at a time and waits for their echo, with and without Nagle's
// delay, while another of its connections sends as fast as it can. What the engine does for
// bulk, letting segments gather and pausing, holds nobody up.
func TestNSInteractive(t *testing.T) {
	tun := newNS(t)
	ours, theirs := newVeth(t, 1500)
	for _, s := range []struct {
		name string
		open func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer)
	}{
		{"tun", openTUN(tun, tunOurs4.Addr(), tunHost4.Addr())},
		{"xdp", openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: zctap.XDPCopy})},
	} {
		t.Run(s.name, func(t *testing.T) {
			q, peer := s.open(t, zctap.Config{})
			defer closeWhole(t, q)
			echoes(t, q, ":80")
			addr := net.JoinHostPort(peer.Host(), "80")
			types(t, peer, addr, true) // with nobody beside

			bulk := sends(t, q, peer)
			for _, noDelay := range []bool{true, false} {
				types(t, peer, addr, noDelay)
			}
			if n := bulk(); n < 1<<20 {
				t.Errorf("%d bytes were sent in bulk meanwhile", n)
			}
		})
	}
}

// sends has the peer send to q as fast as it can, until it is called; it returns how many bytes
// that were.
func sends(t *testing.T, q *zctap.Queue, peer enginetest.Peer) (stop func() int) {
	t.Helper()
	ln, err := q.Listen("tcp", ":81")
	if err != nil {
		t.Fatal(err)
	}
	out, err := peer.Dial("tcp", net.JoinHostPort(peer.Host(), "81"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := ln.AcceptZC()
	if err != nil {
		t.Fatal(err)
	}
	sent, received := make(chan int), make(chan int64)
	go func() {
		n := 0
		for p := make([]byte, 1<<20); ; {
			k, err := out.Write(p)
			if n += k; err != nil {
				sent <- n
				return
			}
		}
	}()
	go func() {
		n, _ := io.Copy(io.Discard, in) // ended by a reset, or not
		received <- n
	}()
	return func() int {
		out.Close()
		n := <-sent
		if got := <-received; got > int64(n) {
			t.Errorf("%d bytes received of %d", got, n)
		}
		in.Close()
		ln.Close()
		return n
	}
}

// types sends keystrokes to addr, and wants each echoed.
func types(t *testing.T, peer enginetest.Peer, addr string, noDelay bool) {
	t.Helper()
	c, err := peer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetNoDelay(noDelay); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 0))
	var took []time.Duration
	for range 60 {
		p := make([]byte, 1+r.IntN(40))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		start := time.Now()
		if err := wantEcho(c, p); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
		time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("instead of the end: %v", err)
	}
	slices.Sort(took)
	t.Logf("echoes after %v, 90 %% within %v, %v at most", took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
}
