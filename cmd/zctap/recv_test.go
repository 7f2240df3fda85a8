//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/pattern"
)

// listening is a stderr that tells where recv has begun to listen.
type listening struct {
	bytes.Buffer
	at chan string
}

func newListening() *listening { return &listening{at: make(chan string, 1)} }

func (l *listening) Write(p []byte) (int, error) {
	if _, addr, ok := strings.Cut(string(p), "listening on "); ok {
		l.at <- strings.TrimSpace(addr)
	}
	return l.Buffer.Write(p)
}

// addr waits for the address. done has the exit code of a recv that ended before.
func (l *listening) addr(t *testing.T, done <-chan int) string {
	t.Helper()
	select {
	case addr := <-l.at:
		return addr
	case code := <-done:
		t.Fatalf("recv: exit %d: %s", code, l.String())
		return ""
	}
}

// What send sends recv receives: to a file, with its hash, verified.
func TestSendAndRecv(t *testing.T) {
	t.Run("RecvZC", func(t *testing.T) { sendAndRecv(t) })
	t.Run("handler", func(t *testing.T) { sendAndRecv(t, "--handler") })
}

// On a machine of one CPU a handler's recv has a processor to spare, unless it is told otherwise.
func TestRecvSparesProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		env   string
		flags []string
		want  int
	}{
		{"", []string{"--handler"}, 2},
		{"1", []string{"--handler"}, 1},
		{"", nil, 1},
	} {
		t.Setenv("GOMAXPROCS", c.env)
		runtime.GOMAXPROCS(1)
		sendAndRecv(t, c.flags...)
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("GOMAXPROCS=%s, %v: recv works with %d processors, want %d", c.env, c.flags, got, c.want)
		}
	}
}

func sendAndRecv(t *testing.T, flags ...string) {
	const size = 3<<20 + 11
	file := filepath.Join(t.TempDir(), "out")
	errs := newListening()
	var out bytes.Buffer
	done := make(chan int)
	go func() {
		done <- run(context.Background(), &environ{stdout: &out, stderr: errs},
			append([]string{"recv", "--engine", "copy", "--listen", "127.0.0.1:0", "--out", file, "--sha256", "--pattern", "5", "--json"}, flags...))
	}()
	addr := errs.addr(t, done)
	code, said, told := command(t, "send", addr, "--pattern", "5", "--size", "3145739", "--json")
	if code != exitOK {
		t.Fatalf("send: exit %d: %s", code, told)
	}
	var sent sendReport
	if err := json.Unmarshal([]byte(said), &sent); err != nil || sent.Bytes != size || sent.Seconds <= 0 || sent.Datagrams != 0 {
		t.Errorf("send says %q: %+v, %v", said, sent, err)
	}
	if code := <-done; code != exitOK {
		t.Fatalf("recv: exit %d: %s", code, errs.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	io.Copy(h, pattern.New(5).Reader(size))
	if r.Bytes != size || !r.Verified || r.Leaked != 0 || r.SHA256 != hex.EncodeToString(h.Sum(nil)) || r.Engine != "copy" {
		t.Errorf("%+v", r)
	}
	if handled := r.Receiver == "zctap, handler"; handled != slices.Contains(flags, "--handler") {
		t.Errorf("received by %s", r.Receiver)
	}
	b, err := os.ReadFile(file)
	if err != nil || len(b) != size || pattern.New(5).Mismatches(b, 0) != 0 {
		t.Errorf("the file has %d bytes, %v", len(b), err)
	}
}

// A stream that differs from the pattern fails recv.
func TestRecvSeesMismatch(t *testing.T) {
	errs := newListening()
	done := make(chan int)
	go func() {
		done <- run(context.Background(), &environ{stdout: io.Discard, stderr: errs},
			[]string{"recv", "--engine", "copy", "--listen", "127.0.0.1:0", "--pattern", "5"})
	}()
	addr := errs.addr(t, done)
	if code, _, errs := command(t, "send", addr, "--pattern", "6", "--size", "1MiB"); code != exitOK {
		t.Fatalf("send: exit %d: %s", code, errs)
	}
	if code := <-done; code != exitFailed || !strings.Contains(errs.String(), "wrong bytes") {
		t.Errorf("recv of another stream: exit %d: %s", code, errs.String())
	}
}

// A recv that can't begin leaves the file that it was to write as it was.
func TestRecvKeepsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(file, []byte("of before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "recv", "--listen", ":0", "--engine", "zcrx", "--out", file); code != exitFailed {
		t.Errorf("exit %d: %s", code, errs)
	}
	if b, err := os.ReadFile(file); string(b) != "of before" {
		t.Errorf("%q, %v", b, err)
	}
}

// An interrupt ends recv, and nothing is left.
func TestRecvInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	errs := newListening()
	done := make(chan int)
	go func() {
		done <- run(ctx, &environ{stdout: io.Discard, stderr: errs}, []string{"recv", "--engine", "copy", "--listen", "127.0.0.1:0"})
	}()
	errs.addr(t, done)
	cancel()
	if code := <-done; code != exitFailed || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestSendFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "in")
	body := make([]byte, 600_001)
	pattern.New(9).Fill(body, 0)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, c := range []struct {
		args []string
		want []byte
	}{
		{[]string{"--in", file}, body},
		{[]string{"--in", file, "--size", "1000"}, body[:1000]},
	} {
		got := make(chan []byte)
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				t.Error(err)
				close(got)
				return
			}
			b, _ := io.ReadAll(conn)
			conn.Close()
			got <- b
		}()
		code, _, errs := command(t, append([]string{"send", ln.Addr().String()}, c.args...)...)
		if b := <-got; code != exitOK || !bytes.Equal(b, c.want) {
			t.Errorf("%v: exit %d, %d bytes, %s", c.args, code, len(b), errs)
		}
	}
}
