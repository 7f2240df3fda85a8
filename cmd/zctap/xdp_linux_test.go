package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// A program without C, of an ordinary user with the capabilities that it takes,
// receives by AF_XDP with --queues of several, and has dropped them meanwhile.
func TestNSRecvDropsCapabilities(t *testing.T) {
	testenv.NeedRoot(t)
	goCommand := testenv.NeedCommand(t, "go")
	zctap := filepath.Join(testenv.PublicDir(t), "zctap")
	build := exec.Command(goCommand, "build", "-buildvcs=false", "-ldflags=-s -w", "-o", zctap, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}

	ours, theirs := namespace(t), namespace(t)
	err := netns.Veth(ours, theirs, netns.VethOptions{
		NameA: vethName, AddrA: []netip.Prefix{vethRecv}, NameB: vethName, AddrB: []netip.Prefix{vethSend}, Queues: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	recv := exec.Command(zctap, "recv", "--engine", "user", "--interface", vethName, "--queues", "2", "--listen", ":9000",
		"--pattern", "7", "--drop-capabilities", "--json")
	recv.Dir = "/"
	recv.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF, unix.CAP_IPC_LOCK},
	}
	var out bytes.Buffer
	recv.Stdout = &out
	said, err := recv.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Start(recv); err != nil {
		t.Fatal(err)
	}
	defer recv.Process.Kill()
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); !strings.Contains(line, "listening on") {
		t.Fatalf("%q, %v", line, err)
	}
	for thread, set := range capabilities(t, recv.Process.Pid) {
		if set != 0 {
			t.Errorf("thread %s has the capabilities %x", thread, set)
		}
	}
	send := exec.Command(zctap, "send", "10.89.0.2:9000", "--pattern", "7", "--size", "3MiB")
	if err := theirs.Run(send); err != nil {
		t.Errorf("send: %v", err)
	}
	var r report
	if err := recv.Wait(); err != nil || json.Unmarshal(out.Bytes(), &r) != nil || !r.Verified || r.Bytes != 3<<20 || r.Leaked != 0 {
		t.Errorf("recv: %v: %+v", err, r)
	}
}

func namespace(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// capabilities are those that the threads of a process have, or could raise.
func capabilities(t *testing.T, pid int) map[string]uint64 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	all := map[string]uint64{}
	for _, file := range files {
		b, err := os.ReadFile(file) // an error: it has ended
		for line := range strings.Lines(string(b)) {
			var set uint64
			for _, name := range []string{"CapPrm:", "CapEff:", "CapInh:", "CapAmb:"} {
				if n, _ := fmt.Sscanf(line, name+"\t%x", &set); n == 1 && err == nil {
					all[file] |= set
				}
			}
		}
	}
	return all
}
