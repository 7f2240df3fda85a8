//go:build linux

package nic

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// newVeth makes a namespace with a pair of veths, v0 and v1, with so many queues.
func newVeth(t *testing.T, queues int) *netns.NS {
	t.Helper()
	testenv.NeedRoot(t)
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	must(t, ns.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.NumRxQueues, attrs.NumTxQueues = "v0", queues, queues
		v := &netlink.Veth{LinkAttrs: attrs, PeerName: "v1", PeerNumRxQueues: uint32(queues), PeerNumTxQueues: uint32(queues)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		return errors.Join(setUp("v0"), setUp("v1"))
	}))
	return ns
}

func setUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	return err
}

// in runs a test's function inside a namespace.
func in(t *testing.T, ns *netns.NS, fn func(t *testing.T)) {
	t.Helper()
	must(t, ns.Do(func() error { fn(t); return nil }))
}

func TestNSInspect(t *testing.T) {
	ns := newVeth(t, 3)
	in(t, ns, func(t *testing.T) {
		s, err := Inspect("v0")
		must(t, err)
		l, err := netlink.LinkByName("v0")
		must(t, err)
		if s.Interface != "v0" || s.Index != l.Attrs().Index || s.MAC != l.Attrs().HardwareAddr.String() || !s.Up || !s.Running || s.XDPAttached {
			t.Errorf("link: %+v", s.Link)
		}
		if s.Driver != "veth" || s.Channels == nil || s.Channels.RXQueues() != 3 || s.Channels.RXMax != 3 || len(s.Queues) != 3 {
			t.Errorf("driver %q, channels %+v, queues %+v", s.Driver, s.Channels, s.Queues)
		}
		for _, part := range []string{"rings", "rss", "rules"} {
			if !errors.Is(s.errs[part], unix.EOPNOTSUPP) || s.Missing[part] == "" {
				t.Errorf("%s: %v", part, s.errs[part])
			}
		}
		if f := s.Features[FeatureRules]; f.Active || f.Changeable {
			t.Errorf("flow rules of a veth: %+v", f)
		}
		if s.XDP == nil || s.XDP.Features&1 == 0 {
			t.Errorf("XDP features: %+v", s.XDP)
		}
		q, err := ReadQueue("v0", 2)
		if err != nil || q.Busy() != "" || q.Queue != 2 {
			t.Errorf("queue 2: %+v, %v", q, err)
		}
		must(t, WaitQueueFree("v0", 2, 0))
		if _, err := ReadQueue("v0", 3); !errors.Is(err, unix.ENOENT) {
			t.Errorf("queue 3: %v", err)
		}
		if _, err := PagePools("v0"); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("page pools: %v", err)
		}
		// veth has counters for each queue since Linux 6.12 or so, or none.
		if _, err := ReadQueueStats("v0", 1); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("queue counters: %v", err)
		}
	})
	// Elsewhere there is no such interface.
	other, err := netns.New()
	must(t, err)
	defer other.Close()
	in(t, other, func(t *testing.T) {
		for _, name := range []string{"v0", "", "a-name-that-is-too-long", "a/b"} {
			if _, err := Inspect(name); !IsObstacle(err, NoInterface) || !errors.Is(err, unix.ENODEV) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

// TestNSSocketsStay: a device is used from any thread, and by any name.
func TestNSSocketsStay(t *testing.T) {
	ns := newVeth(t, 2)
	var d *kernelDevice
	in(t, ns, func(t *testing.T) {
		var err error
		d, err = openKernelDevice("v0", 0)
		must(t, err)
	})
	defer d.close()
	if s, err := inspect(d); err != nil || s.Interface != "v0" || s.Driver != "veth" {
		t.Errorf("from outside: %+v, %v", s, err)
	}
	in(t, ns, func(t *testing.T) {
		l, err := netlink.LinkByName("v0")
		must(t, err)
		must(t, netlink.LinkSetDown(l))
		must(t, netlink.LinkSetName(l, "renamed0"))
		if id, err := namespace(); err != nil || id != d.netns() {
			t.Errorf("namespace %d, not %d: %v", id, d.netns(), err)
		}
	})
	if s, err := inspect(d); err != nil || s.Interface != "renamed0" || s.Driver != "veth" || s.Up {
		t.Errorf("renamed: %+v, %v", s, err)
	}
	if id, err := namespace(); err != nil || id == d.netns() {
		t.Errorf("the same namespace outside: %v", err)
	}
	in(t, ns, func(t *testing.T) {
		l, err := netlink.LinkByName("renamed0")
		must(t, err)
		must(t, netlink.LinkDel(l))
	})
	if _, err := inspect(d); !errors.Is(err, unix.ENODEV) {
		t.Errorf("deleted: %v", err)
	}
}

// TestNSObstacles: what stands in the way on interfaces that every machine has.
func TestNSObstacles(t *testing.T) {
	ns := newVeth(t, 1)
	dir := journalDir(t)
	in(t, ns, func(t *testing.T) {
		l, err := netlink.LinkByName("v1")
		must(t, err)
		must(t, netlink.LinkSetDown(l))
		for iface, want := range map[string][]Obstacle{
			"v0": {NoDataSplit, OneChannel},
			"v1": {NoDataSplit, OneChannel, InterfaceDown},
			"lo": {NoDataSplit, OneChannel},
			"no": {NoInterface},
		} {
			_, err := NewPlan(iface, Want{Queue: AnyQueue, JournalDir: dir})
			for _, o := range want {
				if !IsObstacle(err, o) {
					t.Errorf("%s: no %q in %v", iface, o, err)
				}
			}
			var first *ObstacleError
			if !errors.As(err, &first) || first.Obstacle != want[0] {
				t.Errorf("%s: the first is %v", iface, err)
			}
			if IsObstacle(err, NoPermission) {
				t.Errorf("%s: root has no permission", iface)
			}
		}
	})
	wide := newVeth(t, 4)
	in(t, wide, func(t *testing.T) {
		_, err := NewPlan("v0", Want{Queue: 2, JournalDir: dir})
		for _, o := range []Obstacle{NoDataSplit, NoRSS, NoRules} {
			if !IsObstacle(err, o) {
				t.Errorf("no %q in %v", o, err)
			}
		}
		if IsObstacle(err, OneChannel) || !strings.Contains(err.Error(), "driver veth has no ring settings") {
			t.Errorf("error: %v", err)
		}
		if _, err := NewPlan("v0", Want{Queue: 4, JournalDir: dir}); !IsObstacle(err, QueueRange) {
			t.Errorf("queue 4 of 4: %v", err)
		}
		d, err := openKernelDevice("v0", 0)
		must(t, err)
		defer d.close()
		for what, err := range map[string]error{
			"rings":   d.setRings(Rings{DataSplit: SplitOn}),
			"rss":     d.setRSS(spread(8, 2), nil),
			"default": d.resetRSS(),
			"rule": func() error {
				_, err := d.insertRule(newRuleChange(Match{Proto: TCP, Port: 1}, 1, nil).Rule)
				return err
			}(),
			"delete":  d.deleteRule(1),
			"context": func() error { _, err := d.createContext(spread(8, 1)); return err }(),
		} {
			if !errors.Is(err, unix.EOPNOTSUPP) {
				t.Errorf("%s: %v", what, err)
			}
		}
		// An errno that has words to it.
		var said *kernelError
		if err := d.setFeature("no-such-feature", true); !errors.As(err, &said) || said.errno != unix.EOPNOTSUPP && said.errno != unix.EINVAL {
			t.Errorf("a feature that is none: %v", err)
		}
	})
}

// TestNSNobody: one who may not change anything may look, and is told.
func TestNSNobody(t *testing.T) {
	ns := newVeth(t, 2)
	cmd := helper("nobody", journalDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := output(ns, cmd)
	if err != nil || out != "ok\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// helperNobody looks at v0 without privileges.
func helperNobody() error {
	s, err := Inspect("v0")
	if err != nil || s.Driver != "veth" || len(s.Queues) != 2 {
		return fmt.Errorf("Inspect: %+v, %w", s, err)
	}
	if _, err := NewPlan("v0", Want{Queue: 1}); !IsObstacle(err, NoPermission) || !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("NewPlan: %w", err)
	}
	if _, err := NewPlan("v0", Want{Queue: 1, DryRun: true}); IsObstacle(err, NoPermission) {
		return fmt.Errorf("a dry run: %w", err)
	}
	d, err := openKernelDevice("v0", 0)
	if err != nil {
		return err
	}
	if err := d.setChannels(Channels{RX: 1, TX: 1}); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("setChannels: %w", err)
	}
	fmt.Println("ok")
	return nil
}

// halves are the changes that can be made to a veth: enough to try the kernel's
// channels and features, and the journal's files, on a process that is killed.
func halves(d device) ([]change, error) {
	c, err := d.channels()
	if err != nil {
		return nil, err
	}
	after := c
	after.RX, after.TX = 2, 3
	last := after
	last.RX = 1
	return []change{
		{Channels: &channelsChange{Before: c, After: after}},
		{Feature: &featureChange{Name: "tx-tcp-segmentation", Before: true, After: false}},
		{Feature: &featureChange{Name: "rx-gro-list", Before: false, After: true}},
		{Channels: &channelsChange{Before: after, After: last}},
	}, nil
}

// helperHalf makes as many of the changes as its second argument says, journals
// one more, and waits to be killed.
func helperHalf() error {
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	d, err := openKernelDevice("v0", 0)
	if err != nil {
		return err
	}
	st, err := openDir(os.Args[1])
	if err != nil {
		return err
	}
	changes, err := halves(d)
	if err != nil {
		return err
	}
	h, err := (&Plan{Interface: "v0", Index: d.index, Driver: "veth", Queue: 1, dev: d}).newHeader()
	if err != nil {
		return err
	}
	j, err := st.create(h)
	if err != nil {
		return err
	}
	for i, c := range changes[:min(n+1, len(changes))] {
		if _, err := j.add(c); err != nil {
			return err
		}
		if i == n {
			break
		}
		if _, err := c.get().do(d); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	time.Sleep(time.Minute) // to be killed within
	return errors.New("was not killed")
}

// TestNSKilled kills a process that has changed a real interface, after each of
// its changes in turn.
func TestNSKilled(t *testing.T) {
	for n := range 5 {
		ns := newVeth(t, 4)
		dir := journalDir(t)
		var before *State
		features := make(map[string]Feature)
		in(t, ns, func(t *testing.T) { before, features = look(t) })

		cmd := helper("half", dir, strconv.Itoa(n))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, ns.Start(cmd))
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "ready\n" {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("%d changes: %q, %v", n, line, err)
		}
		in(t, ns, func(t *testing.T) {
			now, nowFeatures := look(t)
			if n > 0 && *now.Channels == *before.Channels || n > 1 && nowFeatures["tx-tcp-segmentation"] == features["tx-tcp-segmentation"] {
				t.Errorf("%d changes: nothing changed: %+v", n, now)
			}
			if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 {
				t.Errorf("%d changes: restored while it lives: %v", n, r)
			}
		})
		must(t, cmd.Process.Kill())
		cmd.Wait() // killed

		// Elsewhere there is nothing to restore.
		if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 || len(journalsIn(t, dir)) != 1 {
			t.Errorf("%d changes: from outside: %v", n, r)
		}
		in(t, ns, func(t *testing.T) {
			reports := restore(t, RestoreOptions{JournalDir: dir})
			if len(reports) != 1 || reports[0].Interface != "v0" || len(reports[0].Results) != min(n+1, 4) {
				t.Errorf("%d changes: %v", n, reports)
			}
			now, nowFeatures := look(t)
			if *now.Channels != *before.Channels {
				t.Errorf("%d changes: channels %+v, were %+v", n, now.Channels, before.Channels)
			}
			for name, f := range nowFeatures {
				if f != features[name] {
					t.Errorf("%d changes: feature %s is %+v, was %+v", n, name, f, features[name])
				}
			}
		})
		if left := journalsIn(t, dir); len(left) != 0 {
			t.Errorf("%d changes: %v is left", n, left)
		}
	}
}

func look(t *testing.T) (*State, map[string]Feature) {
	t.Helper()
	d, err := openKernelDevice("v0", 0)
	must(t, err)
	defer d.close()
	s, err := inspect(d)
	must(t, err)
	f, err := d.features()
	must(t, err)
	return s, f
}

// TestNSKilledAndGone: the interface went with the process, or after it.
func TestNSKilledAndGone(t *testing.T) {
	ns := newVeth(t, 4)
	dir := journalDir(t)
	cmd := helper("half", dir, "4")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, ns.Start(cmd))
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Errorf("%q, %v", line, err)
	}
	must(t, cmd.Process.Kill())
	cmd.Wait() // killed
	in(t, ns, func(t *testing.T) {
		l, err := netlink.LinkByName("v0")
		must(t, err)
		must(t, netlink.LinkDel(l))
		reports := restore(t, RestoreOptions{JournalDir: dir, Interface: "v0"})
		if len(reports) != 1 || reports[0].Interface != "v0" || len(reports[0].Results) != 4 || reports[0].Results[0].Outcome != Vanished {
			t.Errorf("%v", reports)
		}
	})
	if left := journalsIn(t, dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// TestNSXDP: a program that is attached is seen, whichever its mode.
func TestNSXDP(t *testing.T) {
	ns := newVeth(t, 2)
	in(t, ns, func(t *testing.T) {
		fd, err := netns.LoadXDPPass()
		must(t, err)
		defer unix.Close(fd)
		l, err := netlink.LinkByName("v0")
		must(t, err)
		for _, mode := range []int{unix.XDP_FLAGS_SKB_MODE, unix.XDP_FLAGS_DRV_MODE} {
			must(t, netlink.LinkSetXdpFdWithFlags(l, fd, mode))
			s, err := Inspect("v0")
			must(t, err)
			if !s.XDPAttached || s.XDPProgram == 0 {
				t.Errorf("mode %d: %+v", mode, s.Link)
			}
			if _, err := NewPlan("v0", Want{Queue: 1, JournalDir: journalDir(t)}); !IsObstacle(err, XDPAttached) || !errors.Is(err, unix.EEXIST) {
				t.Errorf("mode %d: %v", mode, err)
			}
			must(t, netlink.LinkSetXdpFdWithFlags(l, -1, mode))
		}
		if s, err := Inspect("v0"); err != nil || s.XDPAttached || s.XDPProgram != 0 {
			t.Errorf("taken off: %+v, %v", s.Link, err)
		}
	})
}

// TestNSRingHolders: whoever has an io_uring is named.
func TestNSRingHolders(t *testing.T) {
	testenv.NeedIOUring(t)
	if me := describeProcess(strconv.Itoa(os.Getpid())); !strings.Contains(me, "(") {
		t.Errorf("this process is %q", me)
	}
	fd := newRing(t)
	if !holdsRing(fmt.Sprintf("/proc/%d", os.Getpid())) || ringHolders() == "" {
		t.Errorf("this process holds a ring, and the holders are %q", ringHolders())
	}
	must(t, unix.Close(fd))
	if holdsRing(fmt.Sprintf("/proc/%d", os.Getpid())) {
		t.Error("this process holds no ring any more")
	}
}

func TestStartTime(t *testing.T) {
	mine, err := startTime(os.Getpid())
	must(t, err)
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	child, err := startTime(cmd.Process.Pid)
	if err != nil || child < mine || mine == 0 {
		t.Errorf("started at %d, the child at %d, %v", mine, child, err)
	}
	if _, err := startTime(-1); err == nil {
		t.Error("there is no process -1")
	}
	if id, err := bootID(); err != nil || len(id) != 36 {
		t.Errorf("boot %q, %v", id, err)
	}
}

// helper is this program, to run a helper.
func helper(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	return cmd
}

// output runs a helper in a namespace and returns what it prints.
func output(ns *netns.NS, cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout = &out
	err := ns.Run(cmd)
	return out.String(), err
}
