//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// TestMain makes the test binary the command too: the demo starts its own
// executable as the sender.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		for _, v := range verbs {
			if os.Args[1] == v.name {
				main()
			}
		}
	}
	testenv.Main(m)
}

// command runs a command line in this process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), &environ{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, args)
	return code, out.String(), errs.String()
}

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // in the one line on stderr
	}{
		{[]string{"fly"}, `no command "fly"`},
		{[]string{"demo", "--size", "lots"}, "not a size"},
		{[]string{"demo", "--size", "-4"}, "a size is"},
		{[]string{"demo", "--size", "0"}, "a size is"},
		{[]string{"demo", "--engine", "warp"}, "not one of auto, zcrx, user, copy"},
		{[]string{"demo", "--engine", "copy", "--wire", "mem"}, "--wire is for engine user"},
		{[]string{"demo", "--speed"}, "not defined: -speed"},
		{[]string{"demo", "now"}, `unexpected argument "now"`},
		{[]string{"recv"}, "--listen is missing"},
		{[]string{"recv", "--listen", ":0", "--json", "--out", "-"}, "both want standard output"},
		{[]string{"recv", "--listen", ":0", "--tun-addr", "10.0.0.1"}, "prefix length"},
		{[]string{"send"}, "ADDRESS is missing"},
		{[]string{"send", "127.0.0.1:1", "--in", "-", "--pattern", "1"}, "exclude each other"},
		{[]string{"bench"}, "tcp or udp"},
		{[]string{"bench", "tea"}, `no benchmark "tea"`},
		{[]string{"bench", "tcp", "--interface", "lo", "--sender", "udp", "--rounds", "0"}, "--rounds is 1"},
		{[]string{"bench", "tcp", "--sender", "x"}, "need each other"},
		{[]string{"bench", "tcp", "--xdp-mode", "copy"}, "--xdp-mode is of AF_XDP"},
		{[]string{"demo", "--sender", "x"}, "--sender is where"},
		{[]string{"demo", "--nodev", "--wire", "tun"}, "--wire is of what"},
		{[]string{"recv", "--listen", ":0", "--xdp-mode", "copy"}, "--xdp-mode is of AF_XDP"},
		{[]string{"recv", "--listen", ":0", "--tun-host", "10.0.0.1/24"}, "--tun-host is an address"},
		{[]string{"send", "127.0.0.1:1", "--gso"}, "--gso is of datagrams"},
		{[]string{"send", "127.0.0.1:1", "--udp", "5", "--size", "1KiB"}, "--size is of a stream"},
		{[]string{"bench", "tcp", "--rounds", "0"}, "--rounds is"},
		{[]string{"bench", "tcp", "--wire", "veth", "--handler"}, "--handler is not"},
		{[]string{"bench", "tcp", "--mtu", "60"}, "an MTU is"},
		{[]string{"bench", "tcp", "--touch", "hash"}, "not one of none, crc32c"},
		{[]string{"demo", "--mtu", "wide"}, "an MTU is"},
		{[]string{"bench", "udp", "--rounds", "0"}, "--rounds is"},
		{[]string{"bench", "udp", "--count", "1"}, "--count is"},
		{[]string{"bench", "udp", "--datagram", "1473"}, "--datagram is"},
		{[]string{"bench", "udp", "--region", "4KiB"}, "--region is"},
		{[]string{"send", "127.0.0.1:1", "--udp", "-1"}, "--udp is"},
		{[]string{"send", "127.0.0.1:1", "--udp", "1", "--datagram", "0"}, "--datagram is"},
		{[]string{"bench", "tcp", "--engine", "zcrx"}, "needs an --interface"},
		{[]string{"bench", "tcp", "--interface", "eth9"}, "need each other"},
		{[]string{"demo", "--engine", "zcrx"}, "needs an --interface"},
		{[]string{"demo", "--nodev", "--interface", "eth9"}, "exclude each other"},
		{[]string{"recv", "--listen", ":0", "--queue", "1"}, "queue of an --interface"},
		{[]string{"recv", "--listen", ":0", "--interface", "eth9", "--engine", "copy"}, "for engines zcrx and user"},
		{[]string{"recv", "--listen", ":0", "--interface", "eth9", "--tun", "t0"}, "exclude each other"},
		{[]string{"recv", "--listen", ":0", "--rings", "2"}, "share a queue of an --interface"},
		{[]string{"recv", "--listen", ":0", "--nodev", "--rings", "0"}, "--rings is from 1"},
		{[]string{"recv", "--listen", ":0", "--interface", "eth9", "--engine", "user", "--rings", "2"}, "--rings is for engine zcrx"},
		{[]string{"recv", "--listen", ":0", "--queues", "2"}, "queues of an --interface"},
		{[]string{"recv", "--listen", ":0", "--interface", "eth9", "--queues", "-1"}, "--queues is from 1"},
		{[]string{"recv", "--listen", ":0", "--interface", "eth9", "--engine", "zcrx", "--queues", "2"}, "--queues is for engine user"},
		{[]string{"recv", "--dry-run"}, "for an --interface"},
		{[]string{"recv", "--listen", ":0", "--interface", "lo", "--engine", "user", "--dry-run"}, "of engine zcrx"},
		{[]string{"nic"}, "say what to do"},
		{[]string{"nic", "plan"}, "INTERFACE is missing"},
		{[]string{"nic", "plan", "lo", "--port", "70000"}, "--port is"},
		{[]string{"lab"}, "say what to do"},
		{[]string{"lab", "fly"}, `nothing called "fly"`},
		{[]string{"lab", "run"}, "PROGRAM is missing"},
		{[]string{"lab", "demo", "--nodev", "--fault", "drop=1"}, "need devices"},
		{[]string{"lab", "demo", "--fault", "gremlins"}, "unknown fault"},
		{[]string{"lab", "demo", "--mtu", "20"}, "MTU 20"},
	} {
		code, out, errs := command(t, c.args...)
		if code != exitUsage || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("zctap %s: exit %d, stdout %q, stderr %q", strings.Join(c.args, " "), code, out, errs)
		}
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "127.0.0.1:1"}, "connection refused"},
		{[]string{"send", "nonsense"}, "missing port"},
		{[]string{"recv", "--listen", "nonsense"}, "missing port"},
		{[]string{"recv", "--listen", "192.0.2.1:9", "--engine", "copy"}, "cannot assign"},
		{[]string{"recv", "--listen", ":0", "--out", "/nonexistent/file"}, "no such file"},
		{[]string{"recv", "--listen", ":0", "--engine", "zcrx"}, "no interface is named"},
		{[]string{"recv", "--listen", ":0", "--engine", "user"}, "no device is named"},
		{[]string{"recv", "--listen", ":0", "--interface", "zctap-none", "--engine", "zcrx"}, "zctap-none"},
		{[]string{"recv", "--listen", ":0", "--interface", "zctap-none", "--engine", "user"}, "zctap-none"},
		{[]string{"nic", "plan", "lo"}, "no header/data split"},
		{[]string{"nic", "plan", "lo"}, "\nzctap nic: nic: lo: "}, // and the next obstacle
		{[]string{"nic", "show", "zctap-none"}, "zctap-none"},
		{[]string{"lab", "run", "zctap-no-such-program"}, "not found"},
		{[]string{"recv", "--listen", ":0", "--tun", "name/with/slash", "--engine", "user"}, "name/with/slash"},
	} {
		code, out, errs := command(t, c.args...)
		if code != exitFailed || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("zctap %s: exit %d, stdout %q, stderr %q", strings.Join(c.args, " "), code, out, errs)
		}
	}
}

func TestHelp(t *testing.T) {
	code, out, _ := command(t, "help")
	for _, v := range verbs {
		if code != exitOK || !strings.Contains(out, v.name) {
			t.Errorf("help: exit %d, without %s", code, v.name)
		}
		for _, args := range [][]string{{v.name, "--help"}, {"help", v.name}} {
			if code, out, errs := command(t, args...); code != exitOK || !strings.Contains(out, "Usage: zctap "+v.name) || errs != "" {
				t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
			}
		}
	}
	if code, out, _ := command(t, "lab", "run", "--help"); code != exitOK || !strings.Contains(out, "Usage: zctap lab") {
		t.Errorf("lab run --help: exit %d, %q", code, out)
	}
	if code, out, _ := command(t, "version"); code != exitOK || !strings.HasPrefix(out, "zctap ") || !strings.Contains(out, runtime.Version()) {
		t.Errorf("version: exit %d, %q", code, out)
	}
	for _, args := range [][]string{{"help", "help"}, {"help", "--help"}, {"--help", "-h"}} {
		if code, out, _ := command(t, args...); code != exitOK || !strings.Contains(out, "Usage: zctap COMMAND") {
			t.Errorf("%q: exit %d, %q", args, code, out)
		}
	}
	if code, _, errs := command(t, "help", "fly"); code != exitUsage || !strings.Contains(errs, "no command") {
		t.Errorf("help fly: exit %d, %q", code, errs)
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "4096": 4096, "64KiB": 64 << 10, "4GiB": 4 << 30, "1.5MiB": 3 << 19, "10GB": 1e10, "2 M": 2 << 20, "7B": 7,
	} {
		var b byteSize
		if err := b.Set(in); err != nil || int64(b) != want {
			t.Errorf("%q: %d, %v, want %d", in, b, err, want)
		}
	}
	for _, in := range []string{"", "x", "4XB", "-1", "NaN", "inf", "1e400", "KiB"} {
		var b byteSize
		if err := b.Set(in); err == nil {
			t.Errorf("%q is taken as %d", in, b)
		}
	}
	b := byteSize(4 << 30)
	if b.String() != "4GiB" {
		t.Errorf("4 GiB prints as %s", b.String())
	}
}

// demoReport runs the demo and decodes what --json prints.
func demoReport(t *testing.T, args ...string) report {
	t.Helper()
	code, out, errs := command(t, append([]string{"demo", "--json", "--size", "64MiB"}, args...)...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, r := range []*report{&r, r.Comparison} {
		if r == nil || !r.Verified || r.Mismatches != 0 || r.Leaked != 0 || r.Bytes != 64<<20 || r.Seconds <= 0 || r.CPUSeconds <= 0 {
			t.Fatalf("%+v", r)
		}
	}
	if r.ZeroCopyBytes+r.CopiedBytes != 64<<20 {
		t.Errorf("%d zero-copy and %d copied bytes", r.ZeroCopyBytes, r.CopiedBytes)
	}
	return r
}

func TestDemoMem(t *testing.T) {
	r := demoReport(t, "--wire", "mem")
	if r.Engine != "user" || r.CopiedBytes > 64<<20/1000 {
		t.Errorf("engine %s, %d copied bytes", r.Engine, r.CopiedBytes)
	}
}

func TestNSDemoTUN(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	r := demoReport(t, "--wire", "tun")
	if r.Engine != "user" || r.Wire != "tun" || r.CopiedBytes > 64<<20/1000 {
		t.Errorf("engine %s over %s, %d copied bytes", r.Engine, r.Wire, r.CopiedBytes)
	}
}

func TestNSDemoCopy(t *testing.T) {
	testenv.NeedRoot(t)
	r := demoReport(t, "--engine", "copy")
	if r.Engine != "copy" || r.ZeroCopyBytes != 0 {
		t.Errorf("engine %s, %d zero-copy bytes", r.Engine, r.ZeroCopyBytes)
	}
}

// The table is for people: it names both receivers and what was found.
func TestDemoTable(t *testing.T) {
	code, out, errs := command(t, "demo", "--wire", "mem", "--size", "1MiB")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"net.Conn", "GB/s", "CPU s/GB", "zero-copy bytes", "copied bytes", "receive calls", "buffers leaked"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// bench tcp --handler compares three receivers: RecvZC, net.Conn and a handler.
func TestNSBenchHandler(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	code, out, errs := command(t, "bench", "tcp", "--handler", "--rounds", "2", "--size", "4MB", "--json")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var res benchResult
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range res.Summary {
		names = append(names, s.Receiver)
	}
	if !slices.Equal(names, []string{"zctap", "net.Conn", "zctap, handler"}) || len(res.Runs) != 6 || len(res.Comparisons) != 3 {
		t.Errorf("receivers %q, %d runs, %d comparisons", names, len(res.Runs), len(res.Comparisons))
	}
	for _, r := range res.Runs {
		if r.Bytes != 4_000_000 || r.Leaked != 0 {
			t.Errorf("%s received %d bytes, %d buffers leaked", r.Receiver, r.Bytes, r.Leaked)
		}
	}
}

// bench tcp --touch has every receiver read all of the payload, the same bytes.
func TestNSBenchTouch(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	code, out, errs := command(t, "bench", "tcp", "--handler", "--rounds", "1", "--size", "4MB", "--json", "--touch", "crc32c")
	var res benchResult
	if err := json.Unmarshal([]byte(out), &res); code != exitOK || err != nil {
		t.Fatalf("exit %d, %v, stderr %q", code, err, errs)
	}
	if res.Touch != "crc32c" || len(res.Runs) != 3 {
		t.Errorf("touch %q, %d runs", res.Touch, len(res.Runs))
	}
	for _, r := range res.Runs {
		if r.CRC32C == nil || *r.CRC32C != *res.Runs[0].CRC32C || *r.CRC32C == 0 {
			t.Errorf("%s found %v in what the first found %v in", r.Receiver, r.CRC32C, res.Runs[0].CRC32C)
		}
	}
}

// The checksum is that of the stream, however it is cut; and who finds another one fails.
func TestToucher(t *testing.T) {
	var sum, other uint32
	s := toucher(&sum)
	for _, views := range [][][]byte{{[]byte("12"), nil, []byte("345")}, {[]byte("6789")}} {
		if err := s(views); err != nil {
			t.Fatal(err)
		}
	}
	if sum != 0xe3069283 { // the check value of CRC-32C
		t.Errorf("%08x", sum)
	}
	r := &report{Receiver: "a", CRC32C: &sum}
	if err := r.sameCRC(r); err != nil {
		t.Error(err)
	}
	if err := r.sameCRC(&report{Receiver: "b", CRC32C: &other}); err == nil || !strings.Contains(err.Error(), "e3069283") {
		t.Errorf("%v", err)
	}
	if err := new(report).sameCRC(new(report)); err != nil {
		t.Error(err)
	}
}

// Each receiver runs with each sender, and the counts add up.
func TestNSBenchUDP(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	const udpKinds = 4 * udpSenders // user over TUN and over veth, copy, net.UDPConn
	code, out, errs := command(t, "bench", "udp", "--rounds", "2", "--count", "2000", "--json")
	var res udpResult
	if err := json.Unmarshal([]byte(out), &res); code != exitOK || err != nil {
		t.Fatalf("exit %d, %v, stderr %q", code, err, errs)
	}
	if len(res.Runs) != 2*udpKinds || len(res.Summary) != udpKinds {
		t.Fatalf("%d runs, %d summaries", len(res.Runs), len(res.Summary))
	}
	names := map[string]bool{}
	for i, r := range res.Runs {
		sent := 2000
		if r.Segmented {
			sent *= segmentedTimes
		}
		if r.Sent != sent || r.Received+r.Dropped != sent || r.Received == 0 || r.Calls == 0 || r.name() != res.Summary[i%udpKinds].Name {
			t.Errorf("run %d: %+v", i, r)
		}
		if n := r.Events["datagrams-merged"]; (n > 0) != (r.Segmented && (r.Receiver == "zctap copy" || r.Wire == "tun")) {
			t.Errorf("run %d, %s: %d merged", i, r.name(), n)
		}
		names[r.name()] = true
	}
	if len(names) != udpKinds {
		t.Errorf("%v", names)
	}
	for _, s := range res.Summary {
		if s.PerSecond[0] <= 0 || s.PerSecond[0] > s.PerSecond[1] || s.PerSecond[1] > s.PerSecond[2] {
			t.Errorf("%+v", s)
		}
	}
}
