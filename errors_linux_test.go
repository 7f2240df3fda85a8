package zctap_test

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

// wantError checks what an error is, and that it says all of these.
func wantError(t *testing.T, what string, err, is error, says ...string) {
	t.Helper()
	var oe *zctap.OpError
	if !errors.As(err, &oe) || !errors.Is(err, is) {
		t.Errorf("%s: %v; want %v", what, err, is)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %v; does not say %q", what, err, s)
		}
	}
}

// TestErrorsSayWhat: errors name the address that they are about, and what the caller did
// wrong, beside the errno, on every engine.
func TestErrorsSayWhat(t *testing.T) {
	for name, open := range map[string]func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer){
		"copy": openCopy, "user": openMem(pairA4, pairB4),
	} {
		t.Run(name, func(t *testing.T) {
			q, peer := open(t, zctap.Config{Buffers: 64})
			defer q.Close()
			own, host := loopback4.String(), loopback4.String()
			if name == "user" {
				own, host = pairA4.String(), pairB4.String()
			}
			testAddressErrors(t, q, own, host)
			testUseErrors(t, q, peer, own)
		})
	}
}

func testAddressErrors(t *testing.T, q *zctap.Queue, own, host string) {
	ln, err := q.Listen("tcp4", own+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = q.Listen("tcp4", ln.Addr().String())
	wantError(t, "Listen on a port in use", err, syscall.EADDRINUSE, "tcp4 "+ln.Addr().String())
	_, err = q.Listen("tcp", "198.51.100.9:9000")
	wantError(t, "Listen on another's address", err, syscall.EADDRNOTAVAIL, "tcp 198.51.100.9:9000")
	p, err := q.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, port, _ := net.SplitHostPort(p.LocalAddr().String())
	_, err = q.ListenPacket("udp4", ":"+port)
	wantError(t, "ListenPacket on a port in use", err, syscall.EADDRINUSE, "udp4 :"+port)
	_, err = q.Dial("tcp", host+":1")
	wantError(t, "Dial to nobody", err, syscall.ECONNREFUSED, "tcp "+host+":1")
	for _, address := range []string{"", ":9000"} {
		_, err = q.Dial("tcp", address)
		wantError(t, "Dial of "+address, err, syscall.EDESTADDRREQ, "names no host")
		_, err = q.DialPacket("udp", address)
		wantError(t, "DialPacket of "+address, err, syscall.EDESTADDRREQ, "names no host")
	}
	any, err := q.Listen("tcp4", "") // as net.Listen
	if err != nil {
		t.Fatal(err)
	}
	defer any.Close()
	if any.Addr().(*net.TCPAddr).Port == 0 {
		t.Errorf("listening at %v", any.Addr())
	}
}

func testUseErrors(t *testing.T, q *zctap.Queue, peer enginetest.Peer, own string) {
	ln, err := q.Listen("tcp4", own+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err := peer.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	c, err := ln.AcceptZC()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := q.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	_, err = c.RecvZC(nil)
	wantError(t, "RecvZC without room", err, syscall.EINVAL, "no room")
	_, err = c.RecvZCMax(make([]zctap.Iov, 1), 0)
	wantError(t, "RecvZCMax of nothing", err, syscall.EINVAL, "no room")
	_, err = p.RecvFromZC(make([]zctap.Iov, 1), nil)
	wantError(t, "RecvFromZC without room", err, syscall.EINVAL, "no room")
	_, err = q.Wait(nil)
	wantError(t, "Wait without room", err, syscall.EINVAL, "no room")

	if err := errors.Join(c.Arm(1), ln.Arm(2), p.Arm(3)); err != nil {
		t.Fatal(err)
	}
	wantError(t, "Arm again", c.Arm(1), syscall.EBUSY, "armed already")
	_, err = c.RecvZC(make([]zctap.Iov, 1))
	wantError(t, "RecvZC while armed", err, syscall.EBUSY, "Queue.Wait")
	_, err = c.Read(make([]byte, 1))
	wantError(t, "Read while armed", err, syscall.EBUSY, "Queue.Wait")
	_, err = ln.AcceptZC()
	wantError(t, "AcceptZC while armed", err, syscall.EBUSY, "Queue.Wait")
	_, _, err = p.ReadFromAddrPort(make([]byte, 1))
	wantError(t, "ReadFromAddrPort while armed", err, syscall.EBUSY, "Queue.Wait")
	if err := q.Handle(func([]zctap.Completion) {}); err != nil {
		t.Fatal(err)
	}
	_, err = q.Wait(make([]zctap.Completion, 1))
	wantError(t, "Wait beside a handler", err, syscall.EBUSY, "Queue.Handle")
}

// TestWhyAsJSON: a log in JSON has the reasons, not empty objects.
func TestWhyAsJSON(t *testing.T) {
	q, err := zctap.Open(zctap.Config{Buffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	b, err := json.Marshal(q.Why())
	if err != nil {
		t.Fatal(err)
	}
	var got []struct{ Engine, Reason string }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	why := q.Why()
	if len(got) != 2 || len(why) != 2 {
		t.Fatalf("%s", b)
	}
	for i := range got {
		if got[i].Engine != why[i].Engine || got[i].Reason != why[i].Err.Error() {
			t.Errorf("%+v, want %v", got[i], why[i])
		}
	}
}
