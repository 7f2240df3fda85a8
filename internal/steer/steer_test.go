//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOptions(t *testing.T) {
	o, err := Options{}.bound()
	if want := (Options{DefaultQueues, DefaultListeners, DefaultFlows}); o != want || err != nil {
		t.Errorf("the zero Options: %+v, %v; want %+v", o, err, want)
	}
	most := Options{MaxQueues, MaxListeners, MaxFlows}
	if o, err := most.bound(); o != most || err != nil {
		t.Errorf("the largest Options: %+v, %v", o, err)
	}
	for _, o := range []Options{
		{Queues: -1}, {Queues: MaxQueues + 1},
		{Listeners: -1}, {Listeners: MaxListeners + 1},
		{Flows: -1}, {Flows: MaxFlows + 1},
	} {
		if _, err := Load(o); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "Options.") {
			t.Errorf("Load(%+v): %v", o, err)
		}
	}
}

// TestKeys: the layout that the program has on its stack, byte by byte.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		proto         Proto
		local, remote string
		want          string
	}{
		{TCP, "10.1.1.1:80", "10.1.1.2:258", "01020000" + "00000000000000000000ffff0a010102" + "00000000000000000000ffff0a010101" + "0050" + "06" + "04"},
		{UDP, "[fd01::1]:53", "[fd01::2]:1", "00010000" + "fd010000000000000000000000000002" + "fd010000000000000000000000000001" + "0035" + "11" + "06"},
	} {
		k := makeFlowKey(c.proto, ap(c.local), ap(c.remote))
		if got := fmt.Sprintf("%x", k[:]); got != c.want {
			t.Errorf("flow %s from %s: %s, want %s", c.local, c.remote, got, c.want)
		}
		l := makeListenerKey(c.proto, ap(c.local))
		if got := fmt.Sprintf("%x", l[:]); got != c.want[40:] {
			t.Errorf("listener %s: %s, want %s", c.local, got, c.want[40:])
		}
	}
	if remotePort+len(flowKey{}) != listenerKeyAt+len(listenerKey{}) || flowKeyAt != ip6Header+4 || remoteAddr != ip6Header+8 {
		t.Error("the keys do not lie where an IPv6 header brings them")
	}
}

func TestFlowErrors(t *testing.T) {
	p := new(Program) // nothing is looked at before the arguments
	for _, c := range []struct {
		proto         Proto
		local, remote netip.AddrPort
		want          unix.Errno
		says          string
	}{
		{Proto(132), ap("10.0.0.1:1"), ap("10.0.0.2:2"), unix.EPROTONOSUPPORT, "protocol 132"},
		{TCP, netip.AddrPort{}, ap("10.0.0.2:2"), unix.EINVAL, "local address is not set"},
		{TCP, ap("10.0.0.1:1"), netip.AddrPort{}, unix.EINVAL, "remote address is not set"},
		{TCP, ap("10.0.0.1:0"), ap("10.0.0.2:2"), unix.EINVAL, "no port"},
		{TCP, ap("10.0.0.1:1"), ap("10.0.0.2:0"), unix.EINVAL, "no port"},
		{TCP, ap("0.0.0.0:1"), ap("10.0.0.2:2"), unix.EINVAL, "must be known"},
		{TCP, ap("10.0.0.1:1"), ap("[::]:2"), unix.EINVAL, "must be known"},
		{TCP, ap("10.0.0.1:1"), ap("[fd00::2]:2"), unix.EINVAL, "IPv6"},
		{UDP, ap("224.0.0.1:1"), ap("10.0.0.2:2"), unix.EINVAL, "group"},
	} {
		for name, err := range map[string]error{
			"AddFlow":    p.AddFlow(c.proto, c.local, c.remote),
			"RemoveFlow": p.RemoveFlow(c.proto, c.local, c.remote),
		} {
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s %v %v %v: %v, want %v that says %q", name, c.proto, c.local, c.remote, err, c.want, c.says)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{
		"redirect-listener": RedirectListener,
		"pass-malformed":    PassMalformed,
		"verdict-200":       Verdict(200),
		"auto":              Auto,
		"native":            Native,
		"generic":           Generic,
		"offloaded":         Offloaded,
		"mode 7":            Mode(7),
		"tcp":               TCP,
		"udp":               UDP,
		"protocol 1":        Proto(1),
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	seen := make(map[string]bool)
	for v := range Verdicts {
		name := Verdict(v).String()
		if name == "" || seen[name] || strings.HasPrefix(name, "redirect") != Verdict(v).Redirected() {
			t.Errorf("verdict %d is %q", v, name)
		}
		seen[name] = true
	}
}

func TestCounters(t *testing.T) {
	var c Counters
	for v := range c {
		c[v] = 1 << v
	}
	if c.Redirected() != 7 || c.Passed() != 1<<Verdicts-8 {
		t.Errorf("redirected %d, passed %d", c.Redirected(), c.Passed())
	}
}

func TestConflictError(t *testing.T) {
	for _, c := range []struct {
		e    ConflictError
		want string
	}{
		{
			ConflictError{Interface: "eth0", ID: 5},
			"another XDP program is attached: id 5 (its name can be seen with CAP_SYS_ADMIN, as by `bpftool net`)",
		},
		{
			ConflictError{Interface: "eth0", ID: 5, Name: "fw", Tag: "abcd", Mode: Native, Kind: KindNetlink},
			"another XDP program is attached: fw, id 5, tag abcd, in native mode, attached without a link: remove it with `ip link set dev eth0 xdpdrv off`",
		},
		{
			ConflictError{Interface: "eth0", ID: 5, Name: "fw", Mode: Offloaded, Kind: KindNetlink},
			"another XDP program is attached: fw, id 5, in offloaded mode, attached without a link: remove it with `ip link set dev eth0 xdpoffload off`",
		},
		{
			ConflictError{Interface: "eth0", ID: 5, Name: "fw", Mode: Generic, Kind: KindLink},
			"another XDP program is attached: fw, id 5, in generic mode, held by a link: end the process that has it open (`bpftool link` names it), or remove its pin in /sys/fs/bpf",
		},
		{
			ConflictError{Interface: "eth0", ID: 5, Name: "fw", Kind: KindLink, PID: 77, Command: "zctap"},
			"another XDP program is attached: fw, id 5, held by a link of process 77 (zctap): end that",
		},
	} {
		if got := c.e.Error(); got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.e, got, c.want)
		}
		if !errors.Is(&c.e, unix.EBUSY) {
			t.Error("it is not EBUSY")
		}
	}
}

func TestParseFDInfo(t *testing.T) {
	const text = "pos:\t0\nflags:\t02000000\nlink_type:\txdp\nlink_id:\t3\nprog_tag:\t4a9f3605489831a0\nprog_id:\t222\nifindex:\t2\nno separator\n"
	info := parseFDInfo(text)
	for name, want := range map[string]string{"link_type": "xdp", "prog_id": "222", "prog_tag": "4a9f3605489831a0", "ifindex": "2", "absent": ""} {
		if info[name] != want {
			t.Errorf("%s is %q, want %q", name, info[name], want)
		}
	}
}

func TestPermissionHint(t *testing.T) {
	if got := permissionHint(unix.EINVAL); got != "" {
		t.Errorf("EINVAL: %q", got)
	}
	for _, err := range []error{unix.EPERM, unix.EACCES} {
		if got := permissionHint(err); !strings.Contains(got, "capabilities") && !strings.Contains(got, "missing CAP_") {
			t.Errorf("%v: %q", err, got)
		}
	}
}
