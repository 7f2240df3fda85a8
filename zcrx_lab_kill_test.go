//go:build linux

package zctap_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
)

// victimFlows is how many connections the process that is killed accepts.
const victimFlows = 16

func init() { roles["zcrx victim"] = zcrxVictim }

// zcrxVictim goes the way of a receiver on the lab's NIC, says where it is, and waits
// to be killed. It keeps all that it receives.
func zcrxVictim() error {
	fmt.Println("opening")
	q, err := zctap.Open(zctap.Config{Engine: zctap.ZCRX, Interface: os.Getenv("ZCTAP_LAB_NIC"), Buffers: 2048, MaxHeld: 1 << 16})
	if err != nil {
		return err
	}
	ln, err := q.Listen("tcp", fmt.Sprint(":", receiverPort))
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for range victimFlows {
		c, err := ln.AcceptZC()
		if err != nil {
			return err
		}
		go func() {
			iovs := make([]zctap.Iov, 64)
			for err := error(nil); err == nil; {
				_, err = c.RecvZC(iovs)
			}
		}()
	}
	fmt.Println("accepted")
	for q.Stats().Exhaustions == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("exhausted")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	fmt.Println("closing")
	if err := q.Close(); err != nil {
		return err
	}
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

// TestLabKilled kills a receiver with SIGKILL at each stage of its life. Each time
// another opens the queue at once and receives, without a copy, and when that is
// closed the NIC is set as it was before both.
func TestLabKilled(t *testing.T) {
	iface, peer := needNIC(t)
	before := nicSettings(t, iface)
	for _, c := range []struct {
		name string
		at   string // is said before
		then func(v *victim)
	}{
		{"while it opens", "opening", func(v *victim) { v.journal() }},
		{"in accept", "listening", nil},
		{"while peers connect", "listening", func(v *victim) { v.dial(victimFlows / 2) }},
		{"before the first byte", "accepted", nil},
		{"exhausted", "exhausted", nil},
		{"as it closes", "exhausted", func(v *victim) { v.close(0) }},
		{"a moment later", "exhausted", func(v *victim) { v.close(20 * time.Millisecond) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := startVictim(t, iface, peer)
			v.reach(c.at)
			if c.then != nil {
				c.then(v)
			}
			v.kill()
			if left := nicSettings(t, iface) != before; !left && c.at != "exhausted" {
				t.Error("it has left nothing to put back")
			} else {
				t.Logf("it has left changes: %v", left)
			}
			g := newGuest(t, zctap.Config{})
			flows := g.flows(2, 1<<20)
			for _, f := range flows {
				f.send()
			}
			for _, f := range flows {
				f.receive()
				f.sent()
				g.ok(f.c.Close())
			}
			g.wantCounted(flows, 0)
			if s := g.q.Stats(); s.CopiedBytes != 0 {
				t.Errorf("%d bytes were copied: events %v", s.CopiedBytes, s.Events)
			}
			g.free()
		})
		if after := nicSettings(t, iface); after != before {
			t.Fatalf("%s: the NIC is set\n%s\nand was\n%s", c.name, after, before)
		}
	}
}

// A victim is such a process, with its peers.
type victim struct {
	*testing.T
	cmd   *exec.Cmd
	in    *os.File
	lines *bufio.Reader
	to    string // where it listens
	ns    *netns.NS
	pat   *pattern.Pattern
}

func startVictim(t *testing.T, iface, peer string) *victim {
	t.Helper()
	ns, err := netns.Open(peer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{
		T: t, cmd: exec.Command("/proc/self/exe"), in: ours, ns: ns, pat: pattern.New(patternSeed),
		to: netip.AddrPortFrom(addrOf(t, iface), receiverPort).String(),
	}
	v.cmd.Env = append(os.Environ(), roleEnv+"=zcrx victim")
	v.cmd.Stdin, v.cmd.Stderr = theirs, os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	v.lines = bufio.NewReader(out)
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.kill)
	theirs.Close()
	return v
}

// kill kills the process, if that has not been done, and waits until it is gone.
func (v *victim) kill() {
	if v.cmd.ProcessState != nil {
		return
	}
	_ = v.cmd.Process.Kill()
	if err := v.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		v.Errorf("the process ended by itself: %v", err)
	}
	v.in.Close()
}

// reach brings the process so far.
func (v *victim) reach(stage string) {
	v.Helper()
	for at := ""; at != stage; {
		line, err := v.lines.ReadString('\n')
		if err != nil {
			v.Fatalf("after %q, on the way to %q: %v", at, stage, err)
		}
		at = strings.TrimSpace(line)
		if at == "listening" && stage != at {
			for _, p := range v.dial(victimFlows) {
				if stage != "accepted" {
					go sendPiece(p, v.pat, 0, 1<<30) // until it is reset
				}
			}
		}
	}
}

// dial makes connections, which live as long as the test.
func (v *victim) dial(n int) (peers []net.Conn) {
	v.Helper()
	err := v.ns.Do(func() error {
		for range n {
			p, err := net.DialTimeout("tcp", v.to, guestPatience/2)
			if err != nil {
				return err
			}
			v.Cleanup(func() { p.Close() })
			peers = append(peers, p)
		}
		return nil
	})
	if err != nil {
		v.Fatal(err)
	}
	return peers
}

// journal waits until the process has written down a first change.
func (v *victim) journal() {
	v.Helper()
	for end := time.Now().Add(guestPatience); ; time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob("/run/zctap/nic/*.journal")
		for _, name := range files {
			if s, err := os.Stat(name); err == nil && s.Size() > 0 {
				return
			}
		}
		if time.Now().After(end) {
			v.Fatal("the process has no journal")
		}
	}
}

// close has the process close its queue, for so long.
func (v *victim) close(d time.Duration) {
	v.Helper()
	if _, err := v.in.Write([]byte{0}); err != nil {
		v.Fatal(err)
	}
	v.reach("closing")
	time.Sleep(d)
}

// nicSettings is how the NIC is set, and what journals of changes there are.
func nicSettings(t *testing.T, iface string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-ec", `for f in -l -g -x -n -k; do ethtool $f `+iface+`; done
		for f in /run/zctap/nic/*.journal; do if [ -e $f ]; then cat $f; fi; done`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
