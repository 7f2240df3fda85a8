//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestConsole(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&out, nil)
	for _, p := range []string{"one\r\ntwo", " and\r", "\n", strings.Repeat("x", maxLine+1), "\nend"} {
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	c.flush()
	want := "one\ntwo and\n" + strings.Repeat("x", maxLine) + "\nx\nend\n"
	if out.String() != want || string(c.text()) != want {
		t.Errorf("got %q", out.String())
	}
}

func TestKeeper(t *testing.T) {
	k := keeper{maxHead: 10, maxTail: 20}
	var all bytes.Buffer
	for i := range 3 {
		fmt.Fprintf(&all, "line %d\n", i)
		k.add(fmt.Appendf(nil, "line %d\n", i))
	}
	if !bytes.Equal(k.bytes(), all.Bytes()) {
		t.Errorf("what fits became %q", k.bytes())
	}
	for i := range 100_000 {
		k.add(fmt.Appendf(nil, "line %d\n", i))
		if len(k.head)+len(k.tail) > 100 {
			t.Fatalf("%d bytes kept", len(k.head)+len(k.tail))
		}
	}
	if got := string(k.bytes()); !strings.HasPrefix(got, "line 0\nlin\n[...]\n") || !strings.HasSuffix(got, "line 99999\n") {
		t.Errorf("kept %q", got)
	}
}

func TestSplats(t *testing.T) {
	const known = `[    9.1] ------------[ cut here ]------------
[    9.2] WARNING: ./include/net/core/dev.h:398 at page_pool_disable_direct_recycling+0x5b/0x80, CPU#0: ethtool/99
[    9.3] Call Trace:
[    9.4] ---[ end trace 0000000000000000 ]---
`
	cases := []struct {
		name, log string
		want      []string // first lines
		unknown   int
		lines     int // of the first
	}{
		{name: "nothing", log: "[    1.0] Linux version\n[    2.0] mce: WARNING-free\n[    3.0] debug: fine\n"},
		{name: "known", log: known + "[   10.0] and so on\n", want: []string{"WARNING: ./include/net/core/dev.h:398 at page_pool_disable_direct_recycling+0x5b/0x80, CPU#0: ethtool/99"}, lines: 3},
		{name: "like the known one", log: "[1.0] WARNING: net/core/dev.c:398 at other\n", want: []string{"WARNING: net/core/dev.c:398 at other"}, unknown: 1},
		{name: "behind a known one", log: strings.Split(known, "[    9.4]")[0] + "[    9.5] WARNING: new\n", want: []string{"WARNING: ./include/net/core/dev.h:398 at page_pool_disable_direct_recycling+0x5b/0x80, CPU#0: ethtool/99", "WARNING: new"}, unknown: 1},
		{name: "a thread's", log: "[   12.345678][  T123] BUG: KASAN: slab-out-of-bounds in x\n", want: []string{"BUG: KASAN: slab-out-of-bounds in x"}, unknown: 1},
		{name: "a CPU's", log: "[   12.345678][    C1] rcu: INFO: rcu_preempt self-detected stall on CPU\n", want: []string{"rcu: INFO: rcu_preempt self-detected stall on CPU"}, unknown: 1},
		{name: "stalls", log: "[1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n", want: []string{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"}, unknown: 1},
		{name: "hung", log: "[1.0] INFO: task kworker/0:1:23 blocked for more than 120 seconds.\n", want: []string{"INFO: task kworker/0:1:23 blocked for more than 120 seconds."}, unknown: 1},
		{name: "lockup", log: "[1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\n", want: []string{"watchdog: BUG: soft lockup - CPU#0 stuck for 22s!"}, unknown: 1},
		{name: "oops", log: "[1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n[1.0] #PF: x\n[1.0] Oops: 0002 [#1] SMP\n", want: []string{"BUG: kernel NULL pointer dereference, address: 0000000000000000", "Oops: 0002 [#1] SMP"}, unknown: 2, lines: 2},
		{name: "protection", log: "[1.0] Oops: general protection fault, probably for x: 0000 [#1] SMP\n", want: []string{"Oops: general protection fault, probably for x: 0000 [#1] SMP"}, unknown: 1},
		{name: "BUG_ON", log: "[1.0] kernel BUG at mm/slub.c:1!\n", want: []string{"kernel BUG at mm/slub.c:1!"}, unknown: 1},
		{name: "panic", log: "[1.0] Kernel panic - not syncing: Fatal exception\n", want: []string{"Kernel panic - not syncing: Fatal exception"}, unknown: 1},
		{name: "page pool", log: "[1.0] page_pool_release_retry() stalled pool shutdown: id 7, 3 inflight 60 sec\n", want: []string{"page_pool_release_retry() stalled pool shutdown: id 7, 3 inflight 60 sec"}, unknown: 1},
		{name: "device", log: "[1.0] unregister_netdevice: waiting for eth0 to become free. Usage count = 2\n", want: []string{"unregister_netdevice: waiting for eth0 to become free. Usage count = 2"}, unknown: 1},
		{name: "slab", log: "[1.0] BUG kmalloc-64 (Not tainted): Poison overwritten\n", want: []string{"BUG kmalloc-64 (Not tainted): Poison overwritten"}, unknown: 1},
		{name: "the caller's", log: "[1.0] WARNING: mine\n", want: []string{"WARNING: mine"}},
		{name: "very long", log: "[1.0] WARNING: x\n" + strings.Repeat("[1.0] y\n", 1000), want: []string{"WARNING: x"}, unknown: 1, lines: maxSplatLines},
	}
	for _, c := range cases {
		con := newConsole(nil, []Known{{regexp.MustCompile("^WARNING: mine"), "a test's"}})
		if _, err := con.Write([]byte(c.log)); err != nil {
			t.Fatal(err)
		}
		all, unknown := con.splats()
		var got []string
		for _, s := range all {
			got = append(got, firstLines(s.Text, 1))
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") || len(unknown) != c.unknown {
			t.Errorf("%s: %d unknown in\n%s", c.name, len(unknown), strings.Join(got, "\n"))
		}
		if c.lines > 0 && len(all) > 0 && strings.Count(all[0].Text, "\n")+1 != c.lines {
			t.Errorf("%s: the first is\n%s", c.name, all[0].Text)
		}
	}
}

// TestSplatsAreBounded: a kernel that complains without end fills no memory, and none gets lost.
func TestSplatsAreBounded(t *testing.T) {
	c := newConsole(nil, nil)
	for range 1000 {
		if _, err := c.Write([]byte("WARNING: again\n")); err != nil {
			t.Fatal(err)
		}
	}
	if all, unknown := c.splats(); len(all) != maxSplats+1 || len(unknown) != maxSplats+1 {
		t.Errorf("%d kept, %d unknown", len(all), len(unknown))
	}
}
