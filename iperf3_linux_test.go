package zctap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// The server's half of iperf3's protocol, version 3.12: a control connection on which states
// are single bytes and all else is JSON behind its length in four bytes; and data
// connections. All of them begin with the same cookie.

// The states, as iperf3's iperf_api.h numbers them.
const (
	iperfTestStart       = 1
	iperfTestRunning     = 2
	iperfTestEnd         = 4
	iperfParamExchange   = 9
	iperfCreateStreams   = 10
	iperfExchangeResults = 13
	iperfDisplayResults  = 14
	iperfDone            = 16
)

// iperfParams is what the client asks for.
type iperfParams struct {
	Parallel int
	Reverse  bool  // the server sends
	Num      int64 // bytes, of all streams together
	Len      int   // of a write
}

// iperfResults is what each end says of its streams. What is blank has to be there, and is
// not looked at: the client has -1 in it for what it does not know, without its sign.
type iperfResults struct {
	CPUTotal       blank         `json:"cpu_util_total"`
	CPUUser        blank         `json:"cpu_util_user"`
	CPUSystem      blank         `json:"cpu_util_system"`
	HasRetransmits blank         `json:"sender_has_retransmits"`
	Streams        []iperfStream `json:"streams"`
}

type iperfStream struct {
	ID          int   `json:"id"`
	Bytes       int64 `json:"bytes"`
	Retransmits blank `json:"retransmits"`
	Jitter      blank `json:"jitter"`
	Errors      blank `json:"errors"`
	Packets     blank `json:"packets"`
}

type blank struct{}

func (blank) MarshalJSON() ([]byte, error) { return []byte{'0'}, nil }
func (blank) UnmarshalJSON([]byte) error   { return nil }

// An iperfTest is one test that a client runs.
type iperfTest struct {
	q       *zctap.Queue
	control *zctap.Conn
	cookie  [37]byte
	params  iperfParams
	streams []*zctap.Conn
	counts  []atomic.Int64 // bytes of each stream
	bad     atomic.Int64   // bytes received that are not what they should be
	fails   chan error     // of streams; room for all
}

// serveIperf3 serves one test.
func serveIperf3(q *zctap.Queue, ln *zctap.Listener) (_ *iperfTest, err error) {
	s := &iperfTest{q: q}
	ln.SetDeadline(time.Now().Add(2 * patience))
	if s.control, err = ln.AcceptZC(); err != nil {
		return nil, err
	}
	defer s.control.Close()
	s.control.SetDeadline(time.Now().Add(2 * patience))
	if _, err := io.ReadFull(s.control, s.cookie[:]); err != nil {
		return nil, fmt.Errorf("the cookie: %w", err)
	}
	if err := s.start(ln); err != nil {
		return nil, err
	}
	err = s.finish()
	for _, c := range s.streams {
		c.Close()
	}
	return s, err
}

// start learns what the client wants, takes its streams in, and lets them run.
func (s *iperfTest) start(ln *zctap.Listener) error {
	if err := s.tell(iperfParamExchange); err != nil {
		return err
	}
	if err := s.read(&s.params); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	if err := s.tell(iperfCreateStreams); err != nil {
		return err
	}
	s.counts, s.fails = make([]atomic.Int64, s.params.Parallel), make(chan error, s.params.Parallel)
	for range s.params.Parallel {
		c, err := ln.AcceptZC()
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(2 * patience))
		s.streams = append(s.streams, c)
		var cookie [37]byte
		if _, err := io.ReadFull(c, cookie[:]); err != nil || cookie != s.cookie {
			return fmt.Errorf("a stream begins with %q, %v, and the control connection with %q", cookie, err, s.cookie)
		}
	}
	for i := range s.streams {
		if s.params.Reverse {
			go s.send(i)
		} else {
			go s.receive(i)
		}
	}
	return s.tell(iperfTestStart, iperfTestRunning)
}

// send sends a stream's part.
func (s *iperfTest) send(i int) {
	block := make([]byte, s.params.Len)
	for left := s.params.Num / int64(s.params.Parallel); left > 0; {
		n, err := s.streams[i].Write(block[:min(left, int64(len(block)))])
		s.counts[i].Add(int64(n))
		if left -= int64(n); err != nil {
			s.fails <- err
			return
		}
	}
}

// receive takes in a stream. With --repeating-payload it counts up in digits, again from 0
// where a write begins.
func (s *iperfTest) receive(i int) {
	iovs := make([]zctap.Iov, 64)
	next := byte('0')
	for {
		n, err := s.streams[i].RecvZC(iovs)
		if err != nil {
			s.fails <- err
			return
		}
		total, bad := 0, 0
		for k := range iovs[:n] {
			b := iovs[k].Bytes()
			total += len(b)
			for _, d := range b {
				if d != next && d != '0' {
					bad++
				}
				if next = d + 1; next > '9' {
					next = '0'
				}
			}
		}
		s.q.Release(iovs[:n])
		s.bad.Add(int64(bad))
		s.counts[i].Add(int64(total))
	}
}

// finish waits for the client's end of the test, has all arrive that it sent, and tells it.
func (s *iperfTest) finish() error {
	if err := s.await(iperfTestEnd); err != nil {
		return err
	}
	if err := s.tell(iperfExchangeResults); err != nil {
		return err
	}
	var r iperfResults
	if err := s.read(&r); err != nil || len(r.Streams) != len(s.streams) {
		return fmt.Errorf("results of %d streams, want %d: %w", len(r.Streams), len(s.streams), err)
	}
	for i := range r.Streams {
		for s.counts[i].Load() < r.Streams[i].Bytes {
			select {
			case err := <-s.fails:
				return fmt.Errorf("a stream with %d of %d bytes: %w", s.counts[i].Load(), r.Streams[i].Bytes, err)
			case <-time.After(time.Millisecond):
			}
		}
		r.Streams[i].Bytes = s.counts[i].Load()
	}
	b, err := json.Marshal(&r)
	if err != nil {
		return err
	}
	if _, err := s.control.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return err
	}
	if err := s.tell(iperfDisplayResults); err != nil {
		return err
	}
	return s.await(iperfDone)
}

func (s *iperfTest) tell(states ...byte) error {
	_, err := s.control.Write(states)
	return err
}

func (s *iperfTest) await(state byte) error {
	var b [1]byte
	if _, err := io.ReadFull(s.control, b[:]); err != nil || b[0] != state {
		return fmt.Errorf("iperf3's state is %d, want %d: %w", b[0], state, err)
	}
	return nil
}

// read reads JSON behind its length.
func (s *iperfTest) read(to any) error {
	var n [4]byte
	if _, err := io.ReadFull(s.control, n[:]); err != nil {
		return err
	}
	b := make([]byte, min(binary.BigEndian.Uint32(n[:]), 1<<20))
	if _, err := io.ReadFull(s.control, b); err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// iperfBytes is the size of a test.
const iperfBytes = 64 << 20

// testIperf3 has iperf3 in ns, over the kernel's TCP, measure both directions with the server
// on q at host, with one connection and with four.
func testIperf3(t *testing.T, ns *netns.NS, q *zctap.Queue, host string) {
	iperf3 := testenv.NeedCommand(t, "iperf3")
	ln, err := q.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, args := range []string{"-P 1", "-P 4", "-P 1 -R", "-P 4 -R"} {
		t.Run(args, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, iperf3, append(strings.Fields(args), "-c", host, "-p", port, "-J", "--repeating-payload", "-n", fmt.Sprint(iperfBytes))...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			var s *iperfTest
			served := make(chan error, 1)
			go func() {
				var err error
				s, err = serveIperf3(q, ln)
				served <- err
			}()
			runErr := ns.Run(cmd)
			if err := <-served; err != nil || runErr != nil {
				t.Fatalf("serving: %v; iperf3: %v\n%s", err, runErr, out.String())
			}
			var report struct {
				Error string
				End   struct {
					Sent     struct{ Bytes int64 } `json:"sum_sent"`
					Received struct{ Bytes int64 } `json:"sum_received"`
				}
			}
			if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Error != "" {
				t.Fatalf("iperf3 says %q, %v\n%s", report.Error, err, out.String())
			}
			if r := report.End; r.Sent.Bytes < iperfBytes || r.Received.Bytes != r.Sent.Bytes {
				t.Errorf("%d bytes sent, %d received, want %d", r.Sent.Bytes, r.Received.Bytes, iperfBytes)
			}
			if n := s.bad.Load(); n != 0 {
				t.Errorf("%d bytes are not what was sent", n)
			}
		})
	}
	if s := q.Stats(); s.ZeroCopyBytes < 2*iperfBytes*9/10 {
		t.Errorf("%d bytes of %d were received without a copy", s.ZeroCopyBytes, 2*iperfBytes)
	}
}

// TestNSIperf3 is iperf3 over TUN and over AF_XDP.
func TestNSIperf3(t *testing.T) {
	t.Run("TUN", func(t *testing.T) {
		ns := newNS(t)
		q, peer := openTUN(ns, tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{})
		testIperf3(t, ns, q, peer.Host())
		closeWhole(t, q)
	})
	t.Run("AF_XDP", func(t *testing.T) {
		w := newWorld(t, netns.VethOptions{})
		q := w.open(zctap.XDPConfig{Mode: zctap.XDPCopy}, 4096)
		testIperf3(t, w.theirs, q, vethOurs4.Addr().String())
		w.close(q)
	})
}
