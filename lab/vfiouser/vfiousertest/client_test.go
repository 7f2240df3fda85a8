//go:build linux

package vfiousertest

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// answer makes a server that reads requests and answers each with what reply
// makes of it: a fake that gets wrong what the client has to notice.
func answer(t *testing.T, reply func(request []byte) []byte) *Client {
	t.Helper()
	client, server := Pair(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serveAnswers(server, reply)
	}()
	c := NewClient(client)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return c
}

func serveAnswers(server *net.UnixConn, reply func(request []byte) []byte) {
	defer server.Close()
	for {
		request := make([]byte, headerLen)
		if _, err := io.ReadFull(server, request); err != nil {
			return
		}
		request = append(request, make([]byte, le.Uint32(request[4:])-headerLen)...)
		if _, err := io.ReadFull(server, request[headerLen:]); err != nil {
			return
		}
		if _, err := server.Write(reply(request)); err != nil {
			return
		}
	}
}

// echo is the reply that has the request's body.
func echo(request []byte) []byte {
	r := slices.Clone(request)
	le.PutUint32(r[8:], flagReply)
	return r
}

// TestWrongReplies: the client takes no reply for another.
func TestWrongReplies(t *testing.T) {
	change := func(at int, to byte) func([]byte) []byte {
		return func(request []byte) []byte {
			r := echo(request)
			r[at] = to
			return r
		}
	}
	for _, tt := range []struct {
		name  string
		reply func([]byte) []byte
	}{
		{"another id", change(0, 99)},
		{"another command", change(2, 99)},
		{"a size below the header's", change(4, 15)},
		{"a size of 2 GiB", change(7, 0x7f)},
		{"a command", change(8, 0)},
		{"an error without an errno", func(request []byte) []byte {
			return change(8, flagReply|flagError)(Message(le.Uint16(request), le.Uint16(request[2:]), 0, nil))
		}},
		{"an error with a body", change(8, flagReply|flagError)},
		{"an errno without an error", change(12, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := answer(t, tt.reply)
			if r, err := c.Do(CmdGetInfo, []byte{1, 2, 3, 4}); err == nil {
				t.Errorf("the reply %x is taken", r)
			}
		})
	}
}

// TestWrongBodies: each command's reply is checked.
func TestWrongBodies(t *testing.T) {
	short := answer(t, func(request []byte) []byte {
		r := echo(request)[:headerLen+1]
		le.PutUint32(r[4:], headerLen+1)
		return r
	})
	for name, call := range map[string]func() error{
		"version":     func() error { _, err := short.Negotiate(); return err },
		"read":        func() error { return short.ReadRegion(BAR0, 0, make([]byte, 4)) },
		"write":       func() error { return short.WriteRegion(BAR0, 0, make([]byte, 4)) },
		"writes":      func() error { return short.WriteMulti(Write{Data: []byte{1}}) },
		"long writes": func() error { return short.WriteMulti(Write{Data: make([]byte, 9)}) },
		"region":      func() error { _, _, err := short.RegionInfo(BAR0); return err },
		"interrupt":   func() error { _, _, err := short.IRQInfo(MSIX); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s: the reply is taken", name)
		}
	}
	for _, text := range []string{"", "{}", "no JSON\x00", `{"capabilities":{"unasked":1}}` + "\x00"} {
		c := answer(t, func(request []byte) []byte {
			r := Message(le.Uint16(request), CmdVersion, 0, append(make([]byte, 4), text...))
			le.PutUint32(r[8:], flagReply)
			return r
		})
		if _, err := c.Negotiate(); (err == nil) != (text == "") {
			t.Errorf("version data %q: %v", text, err)
		}
	}
	c := answer(t, func(request []byte) []byte { return append(echo(request), 0)[:len(request)] })
	if err := c.Reset(); err != nil {
		t.Errorf("a right reply to a reset: %v", err)
	}
}

// TestErrno: an error reply is a unix.Errno.
func TestErrno(t *testing.T) {
	c := answer(t, func(request []byte) []byte {
		r := Message(le.Uint16(request), le.Uint16(request[2:]), 0, nil)
		le.PutUint32(r[8:], flagReply|flagError)
		le.PutUint32(r[12:], uint32(unix.EXDEV))
		return r
	})
	if err := c.Reset(); !errors.Is(err, unix.EXDEV) {
		t.Errorf("%v, want EXDEV", err)
	}
	if _, err := c.Map(0, os.Getpagesize()); !errors.Is(err, unix.EXDEV) {
		t.Errorf("Map: %v, want EXDEV", err)
	}
}

// TestWaitInterrupt: the time-out, and vectors that are not there.
func TestWaitInterrupt(t *testing.T) {
	c := answer(t, func(request []byte) []byte {
		r := Message(le.Uint16(request), le.Uint16(request[2:]), 0, nil)
		le.PutUint32(r[8:], flagReply)
		return r
	})
	if err := c.EnableVectors(2); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := c.WaitInterrupt(1, 30*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing is signalled: %v, want os.ErrDeadlineExceeded", err)
	}
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("it has waited %v", d)
	}
	if _, err := unix.Write(c.VectorFD(1), slices.Repeat([]byte{1}, 8)); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitInterrupt(1, 30*time.Second); err != nil {
		t.Error(err)
	}
	for _, v := range []int{-1, 2} {
		if err := c.WaitInterrupt(v, time.Second); err == nil || !strings.Contains(err.Error(), "not enabled") {
			t.Errorf("vector %d: %v", v, err)
		}
	}
}
