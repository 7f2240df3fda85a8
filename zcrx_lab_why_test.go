//go:build linux

package zctap_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// An obstacle is something in the way of engine zcrx.
type obstacle struct {
	name  string
	iface string // empty: the lab's NIC
	queue int    // 0: the last

	put    func(t *testing.T) // puts it there, until the test's end
	limits []string           // shell commands for a process of its own
	drop   []uintptr          // capabilities that it does not have

	want []string // what the reason has to say
	is   error    // what it is
	auto error    // why Auto fails, where another engine would not do; nil: it takes another
}

// command runs a command, and undo at the test's end.
func command(do, undo string) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		shell := func(line string) {
			if line == "" {
				return
			}
			if out, err := exec.Command("/bin/sh", "-ec", line).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
		}
		shell(do)
		t.Cleanup(func() { shell(undo) })
	}
}

const opened = "OPENED"

// TestOpenInGuest is the process that others start to have it try to open a queue.
func TestOpenInGuest(t *testing.T) {
	iface := os.Getenv("ZCTAP_LAB_OPEN")
	if iface == "" {
		t.Skip("is started by others")
	}
	q, err := zctap.Open(zctap.Config{Engine: zctap.ZCRX, Interface: iface})
	if err != nil {
		fmt.Println(opened, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println(opened)
	os.Stdin.Read(make([]byte, 1)) // until the end
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// elsewhere is a process that opens the interface.
func (o *obstacle) elsewhere(t *testing.T) *exec.Cmd {
	t.Helper()
	line := strings.Join(append(o.limits, `exec "$0" -test.run '^TestOpenInGuest$'`), " && ")
	cmd := exec.Command("/bin/sh", "-ec", line, os.Args[0])
	cmd.Env = append(os.Environ(), "ZCTAP_LAB_OPEN="+o.iface)
	return cmd
}

// deprived runs a process without some capabilities: of those that the thread
// lacks in its bounding set, a child loses what it had as root.
func deprived(cmd *exec.Cmd, drop []uintptr) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is not for others
		for _, c := range drop {
			if err = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return
			}
		}
		out, err = cmd.CombinedOutput()
	}()
	<-done
	return out, err
}

// reason is why the engine can't be opened, by name and for Auto.
func (o *obstacle) reason(t *testing.T) (string, error) {
	t.Helper()
	if o.limits != nil || o.drop != nil {
		out, err := deprived(o.elsewhere(t), o.drop)
		_, line, found := bytes.Cut(out, []byte(opened))
		if err != nil || !found {
			t.Fatalf("%v: %s", err, out)
		}
		line, _, _ = bytes.Cut(line, []byte("\n"))
		return string(line), nil
	}
	q, err := zctap.Open(zctap.Config{Engine: zctap.ZCRX, Interface: o.iface, RxQueue: o.queue})
	if err == nil {
		q.Close()
		t.Fatal("it was opened")
	}
	named := err
	if o.iface == os.Getenv("ZCTAP_LAB_NIC") {
		return named.Error(), named // Auto would open another engine there, which does not leave the NIC as it was
	}
	q, err = zctap.Open(zctap.Config{Interface: o.iface, RxQueue: o.queue})
	if o.auto != nil {
		if err == nil {
			q.Close()
		}
		if !errors.Is(err, o.auto) {
			t.Errorf("Auto: %v, want %v", err, o.auto)
		}
		return named.Error(), named
	}
	if err != nil {
		t.Fatalf("Auto: %v", err)
	}
	defer q.Close()
	if why := q.Why(); q.Engine() == zctap.ZCRX || why[0].Engine != zctap.ZCRX || !strings.Contains(named.Error(), why[0].Err.Error()) {
		t.Errorf("Auto opened %s; why: %v", q.Engine(), why)
	}
	return named.Error(), named
}

func (o obstacle) test(t *testing.T) {
	iface, _ := needNIC(t)
	if o.iface == "" {
		o.iface = iface
	}
	if o.put != nil {
		o.put(t)
	}
	text, err := o.reason(t)
	t.Log(text)
	for _, w := range o.want {
		if !strings.Contains(text, w) {
			t.Errorf("the reason does not say %q", w)
		}
	}
	if o.is != nil && err != nil && !errors.Is(err, o.is) {
		t.Errorf("it is not %v", o.is)
	}
}

// What stands in the way of the engine is named. (Queue 0 is not to be had, and
// can't be asked for: RxQueue 0 is the last one.) ZCTAP_LAB_NOSPLIT is a NIC
// without header split.
func TestLabWhy(t *testing.T) {
	noSplit := needGuest(t, "ZCTAP_LAB_NOSPLIT")[0]
	for _, o := range []obstacle{
		{
			name: "no such interface", iface: "eth9",
			want: []string{"eth9: there is no such interface"}, auto: unix.ENODEV,
		},
		{
			name: "loopback", iface: "lo",
			want: []string{"lo: its driver has no ring settings, so no header/data split", "gve"}, is: unix.EOPNOTSUPP,
		},
		{
			name: "veth", iface: "v0",
			put: command("/usr/bin/ip link add v0 numrxqueues 2 type veth peer name v1; /usr/bin/ip link set v0 up; /usr/bin/ip link set v1 up",
				"/usr/bin/ip link del v0"),
			want: []string{"v0: driver veth has no ring settings, so no header/data split"}, is: unix.EOPNOTSUPP,
		},
		{
			name: "no header split", iface: noSplit,
			want: []string{"driver gve offers no header/data split (tcp-data-split)"}, is: unix.EOPNOTSUPP,
		},
		{
			name: "no such queue", queue: 9,
			want: []string{"there is no receive queue 9: it has 2", "ethtool -L"}, is: unix.ERANGE,
		},
		{
			name: "down",
			put:  command("/usr/bin/ip link set eth0 down", "/usr/bin/ip link set eth0 up"),
			want: []string{"eth0: it is down: ip link set dev eth0 up"}, is: unix.ENETDOWN,
		},
		{
			name: "XDP", put: attachXDP,
			want: []string{"XDP program", "is attached", "ip link set dev eth0 xdp off"}, is: unix.EEXIST,
		},
		{
			name: "queue in use", queue: 1, put: occupy,
			want: []string{"eth0 queue 1: process ", "has prepared it for itself"}, is: unix.EBUSY,
		},
		{
			name: "no CAP_NET_ADMIN", drop: []uintptr{unix.CAP_NET_ADMIN},
			want: []string{"needs CAP_NET_ADMIN: run as root"},
		},
		{
			name: "memlock", limits: []string{"ulimit -l 64"}, drop: []uintptr{unix.CAP_IPC_LOCK},
			want: []string{"RLIMIT_MEMLOCK (ulimit -l)", "CAP_IPC_LOCK"},
		},
		{
			name: "io_uring disabled",
			put:  command("echo 2 >/proc/sys/kernel/io_uring_disabled", "echo 0 >/proc/sys/kernel/io_uring_disabled"),
			want: []string{"io_uring is disabled for every process: sysctl -w kernel.io_uring_disabled=0"}, is: errors.ErrUnsupported,
		},
	} {
		t.Run(o.name, o.test)
	}
}

// attachXDP attaches an XDP program to the NIC.
func attachXDP(t *testing.T) {
	iface, _ := needNIC(t)
	fd, err := netns.LoadXDPPass()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	l, err := netlink.LinkByName(iface)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel switches the NIC's own GRO off for a generic program, for good.
	command("", "ethtool -K "+iface+" rx-gro-hw on")(t)
	if err := netlink.LinkSetXdpFdWithFlags(l, fd, unix.XDP_FLAGS_SKB_MODE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkSetXdpFdWithFlags(l, -1, unix.XDP_FLAGS_SKB_MODE); err != nil {
			t.Error(err)
		}
	})
}

// occupy has another process open the NIC's queue.
func occupy(t *testing.T) {
	iface, _ := needNIC(t)
	o := obstacle{iface: iface}
	cmd := o.elsewhere(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	line := make([]byte, len(opened)+1)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != opened+"\n" {
		t.Fatalf("%q, %v", line, err)
	}
}
