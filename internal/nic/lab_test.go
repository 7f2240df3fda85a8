//go:build linux

package nic

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These run in a lab machine, on a NIC that can be prepared: ZCTAP_LAB=1 says
// that they do, ZCTAP_LAB_NIC names the interface. It needs two queues, and the
// gve driver for those that say so.

// labNIC returns the interface, and checks at the test's end that it is as it
// was.
func labNIC(t *testing.T) string {
	t.Helper()
	iface := os.Getenv("ZCTAP_LAB_NIC")
	if os.Getenv("ZCTAP_LAB") != "1" || iface == "" {
		t.Skip("needs a NIC that can be prepared: runs in the lab, with ZCTAP_LAB=1 and ZCTAP_LAB_NIC")
	}
	was := labState(t, iface)
	t.Cleanup(func() { wantLabState(t, "at the end", iface, was) })
	return iface
}

func labState(t *testing.T, iface string) *State {
	t.Helper()
	s, err := Inspect(iface)
	must(t, err)
	return s
}

// wantLabState compares all that can be read. Counters and NAPI ids are not
// settings: those of queues that were made anew are others.
func wantLabState(t *testing.T, when, iface string, was *State) {
	t.Helper()
	now, old := *labState(t, iface), *was
	for _, s := range []*State{&now, &old} {
		s.Running, s.errs = false, nil
		s.Queues = slices.Clone(s.Queues)
		for i := range s.Queues {
			s.Queues[i].NAPI = 0
		}
	}
	if !reflect.DeepEqual(now, old) {
		t.Errorf("%s:\n%+v\nwas\n%+v", when, dump(now), dump(old))
	}
}

func dump(s State) string {
	return fmt.Sprintf("%+v channels %+v rings %+v features %v rss %v rules %+v queues %+v missing %v",
		s.Link, s.Channels, s.Rings, s.Features, s.RSS, s.Rules, s.Queues, s.Missing)
}

func TestLabInspect(t *testing.T) {
	iface := labNIC(t)
	s := labState(t, iface)
	t.Log(dump(*s))
	if s.Driver == "" || !s.Up || s.Channels.RXQueues() < 2 || s.RSS == nil || s.Rules == nil || s.Rules.Size == 0 || len(s.Queues) < 2 {
		t.Errorf("%s", dump(*s))
	}
	if s.Rings == nil || s.Rings.DataSplit == SplitUnknown {
		t.Errorf("rings: %+v", s.Rings)
	}
	if _, err := ReadQueue(iface, len(s.Queues)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a queue too many: %v", err)
	}
	stats, err := ReadQueueStats(iface, 0)
	if err != nil || stats.Packets == nil {
		t.Errorf("queue 0's counters: %+v, %v", stats, err)
	}
	pools, err := PagePools(iface)
	if err != nil || len(pools) == 0 {
		t.Errorf("page pools: %+v, %v", pools, err)
	}
	t.Logf("counters %+v, page pools %+v", stats, pools)
}

// labWant is for the last queue.
func labWant(t *testing.T) Want {
	return Want{Queue: AnyQueue, JournalDir: t.TempDir() + "/journals", Flows: []Flow{
		tcpPort(9000), flowTo(UDP, "10.9.8.7:53"), flowTo(TCP, "[fd00::9]:9000"),
	}}
}

// atEnd undoes what a test that fails has left.
func atEnd(t *testing.T, a *Applied) {
	t.Cleanup(func() {
		if _, err := a.Undo(); err != nil {
			t.Errorf("Undo at the end: %v", err)
		}
	})
}

func TestLabPlanApplyUndo(t *testing.T) {
	iface := labNIC(t)
	was := labState(t, iface)
	w := labWant(t)
	w.Flows = w.Flows[:2] // the third is part of the first
	p, err := NewPlan(iface, w)
	must(t, err)
	t.Logf("\n%v", p)
	wantLabState(t, "a plan", iface, was)
	a, err := p.Apply()
	must(t, err)
	atEnd(t, a)
	must(t, a.Verify())

	now := labState(t, iface)
	t.Log(dump(*now))
	if !now.Rings.splitsAll() || now.RSS.Uses(a.Queue()) || !now.Features[FeatureRules].Active || a.Queue() != now.Channels.RXQueues()-1 {
		t.Errorf("applied: %s", dump(*now))
	}
	if len(now.Rules.Rules) != 3 {
		t.Errorf("rules: %v", now.Rules.Rules)
	}
	from, to := now.Rules.Reserved()
	for _, r := range now.Rules.Rules {
		if !r.Exact || r.Queue != a.Queue() || r.Location < from || r.Location >= to {
			t.Errorf("rule %+v", r)
		}
	}
	if s := a.Steps(); len(s) != len(p.Steps) {
		t.Errorf("steps %v", s)
	}
	for i := range 20 {
		f := flowTo(TCP, fmt.Sprintf("10.9.8.7:%d", 2000+i))
		must(t, a.AddFlow(f))
		if i%2 == 0 {
			must(t, a.RemoveFlow(f))
		}
	}
	if n := len(labState(t, iface).Rules.Rules); n != 13 {
		t.Errorf("%d rules", n)
	}
	if err := a.AddFlow(flowTo(TCP, "[fd00::9]:9000")); !IsObstacle(err, FlowConflict) {
		t.Errorf("a part of another flow: %v", err)
	}
	must(t, a.Verify())
	// Somebody deletes one of ours.
	d, err := openDevice(iface)
	must(t, err)
	must(t, d.deleteRule(now.Rules.Rules[0].Location))
	must(t, d.close())
	if err := a.Verify(); !errors.Is(err, unix.ESTALE) {
		t.Errorf("Verify without a rule: %v", err)
	}
	for _, r := range undo(t, a).Results {
		if r.Outcome != Restored && r.Outcome != Unchanged {
			t.Errorf("%v", r)
		}
	}
	wantLabState(t, "undone", iface, was)
}

// TestLabCommands: the commands that a plan prints do what applying it does.
func TestLabCommands(t *testing.T) {
	iface := labNIC(t)
	if _, err := exec.LookPath("ethtool"); err != nil {
		t.Skip("needs the program ethtool: ", err)
	}
	w := labWant(t)
	w.Flows = w.Flows[1:]
	a, err := Prepare(iface, w)
	must(t, err)
	atEnd(t, a)
	applied := labState(t, iface)
	steps := a.Steps()
	undo(t, a)

	for _, s := range steps {
		t.Log(s.Command)
		out, err := exec.Command("/bin/sh", "-c", s.Command).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", s.Command, err, out)
		}
	}
	wantLabState(t, "by hand", iface, applied)
	// And the other way round, with ethtool's words for what was there.
	for _, r := range labState(t, iface).Rules.Rules {
		if out, err := exec.Command("ethtool", "-N", iface, "delete", fmt.Sprint(r.Location)).CombinedOutput(); err != nil {
			t.Errorf("delete: %v\n%s", err, out)
		}
	}
	for _, args := range [][]string{{"-K", iface, "ntuple", "off"}, {"-X", iface, "default"}, {"-G", iface, "tcp-data-split", "off"}} {
		if out, err := exec.Command("ethtool", args...).CombinedOutput(); err != nil {
			t.Errorf("ethtool %v: %v\n%s", args, err, out)
		}
	}
}

func TestLabOneChannel(t *testing.T) {
	iface := labNIC(t)
	d, err := openDevice(iface)
	must(t, err)
	t.Cleanup(func() { must(t, d.close()) })
	was, err := d.channels()
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(d.setChannels(was), d.resetRSS())) })
	one := was
	if one.Combined = min(was.CombinedMax, 1); one.Combined == 0 {
		one.RX = 1
	}
	must(t, d.setChannels(one))
	single := labState(t, iface)
	if single.Channels.RXQueues() != 1 {
		t.Fatalf("channels: %v", single.Channels)
	}
	a, err := Prepare(iface, labWant1(t))
	must(t, err)
	atEnd(t, a)
	if a.Queue() != 1 || labState(t, iface).Channels.RXQueues() != 2 {
		t.Errorf("queue %d, channels %v", a.Queue(), labState(t, iface).Channels)
	}
	undo(t, a)
	single.RSS.Indir = spread(len(single.RSS.Indir), 1) // gve may keep a table of more queues, which can't be set again
	wantLabState(t, "undone", iface, single)
}

// labWant1 has one flow.
func labWant1(t *testing.T) Want {
	w := labWant(t)
	w.Flows = []Flow{tcpPort(9000)}
	return w
}

func TestLabForeign(t *testing.T) {
	iface := labNIC(t)
	d, err := openDevice(iface)
	must(t, err)
	defer d.close()
	a, err := Prepare(iface, labWant1(t))
	must(t, err)
	atEnd(t, a)
	was := labState(t, iface)
	// Somebody adds a rule of his, which needs the feature.
	theirs := Rule{Location: 0, Match: Match{Proto: UDP, Port: 7}, Exact: true}
	_, err = d.insertRule(theirs)
	must(t, err)
	report := undo(t, a)
	if o := outcomes(report); o[keyFeature(FeatureRules)] != Foreign || o[keyRSS] != Restored || o[keyRings] != Restored {
		t.Errorf("report\n%v", report)
	}
	now := labState(t, iface)
	if len(now.Rules.Rules) != 1 || !now.Rules.Rules[0].same(theirs) || !now.Features[FeatureRules].Active {
		t.Errorf("rules %+v; with ours there were %+v", now.Rules, was.Rules)
	}
	// With it in the way, a flow to the same port can't be had, nor its queue.
	w := labWant1(t)
	w.Flows = []Flow{flowTo(UDP, "0.0.0.0:7")}
	if _, err := NewPlan(iface, w); !IsObstacle(err, FlowConflict) {
		t.Errorf("a port that is taken: %v", err)
	}
	must(t, d.deleteRule(0))
	theirs.Queue = now.Channels.RXQueues() - 1
	_, err = d.insertRule(theirs)
	must(t, err)
	if _, err := NewPlan(iface, Want{Queue: theirs.Queue, JournalDir: w.JournalDir}); !IsObstacle(err, ForeignFlows) {
		t.Errorf("a queue with flows of others: %v", err)
	}
	must(t, d.deleteRule(0))
	must(t, d.setFeature(FeatureRules, false))
}

// helperLab prepares the interface and waits to be killed.
func helperLab() error {
	a, err := Prepare(os.Args[1], Want{Queue: AnyQueue, JournalDir: os.Args[2], Flows: []Flow{tcpPort(9000)}})
	if err != nil {
		return err
	}
	if err := a.AddFlow(Flow{TCP, netip.MustParseAddrPort("10.0.0.1:9001")}); err != nil {
		return err
	}
	fmt.Println("ready")
	time.Sleep(5 * time.Minute)
	return errors.New("was not killed")
}

// startLab starts helperLab and returns when it has prepared the interface.
func startLab(t *testing.T, iface, dir string) *exec.Cmd {
	t.Helper()
	cmd := helper("lab", iface, dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func TestLabKilled(t *testing.T) {
	iface := labNIC(t)
	was := labState(t, iface)
	dir := t.TempDir() + "/journals"
	cmd := startLab(t, iface, dir)
	applied := labState(t, iface)
	if len(applied.Rules.Rules) != 3 || !applied.Rings.splitsAll() {
		t.Errorf("applied: %s", dump(*applied))
	}
	var o *ObstacleError
	_, err := NewPlan(iface, Want{Queue: applied.Channels.RXQueues() - 1, JournalDir: dir})
	if !errors.As(err, &o) || o.Obstacle != QueueBusy && o.Obstacle != ForeignFlows || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("a queue of another process: %v", err)
	}
	if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 {
		t.Errorf("restored while it lives: %v", r)
	}
	wantLabState(t, "Restore while it lives", iface, applied)
	must(t, cmd.Process.Kill())
	cmd.Wait() // killed

	reports := restore(t, RestoreOptions{JournalDir: dir, Interface: iface})
	t.Log(reports)
	wantLabState(t, "restored", iface, was)
	if len(reports) != 1 || len(journalsIn(t, dir)) != 0 {
		t.Errorf("%v, journals %v", reports, journalsIn(t, dir))
	}
}

// TestLabKilledThenNext: the next process goes on as if nothing had happened, and
// leaves the interface as the first one found it.
func TestLabKilledThenNext(t *testing.T) {
	iface := labNIC(t)
	was := labState(t, iface)
	dir := t.TempDir() + "/journals"
	cmd := startLab(t, iface, dir)
	must(t, cmd.Process.Kill())
	cmd.Wait() // killed
	a, err := Prepare(iface, Want{Queue: AnyQueue, JournalDir: dir, Flows: []Flow{tcpPort(9000)}})
	must(t, err)
	atEnd(t, a)
	must(t, a.Verify())
	if n := len(labState(t, iface).Rules.Rules); n != 2 {
		t.Errorf("%d rules", n)
	}
	undo(t, a)
	wantLabState(t, "undone", iface, was)
}
