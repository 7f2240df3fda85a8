//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLabJobs runs jobs on one machine: what can end well or badly without the machine's end.
func TestLabJobs(t *testing.T) {
	t.Parallel()
	var console bytes.Buffer
	vm := bootTest(t, Machine{
		Console: &console,
		Tools:   []string{"busybox", "ip"},
		Modules: []string{"dummy"},
		Files:   []File{{Path: "/etc/lab-test", Data: []byte("here\n"), Mode: 0o600}},
	})
	for _, c := range []struct {
		name string
		test func(*testing.T, *VM)
	}{
		{"streams and status", testStreams},
		{"failures", testFailures},
		{"clock", testClock},
		{"standard input", testStdin},
		{"terminal", testTerminal},
		{"files", testFiles},
		{"timeouts", testTimeouts},
		{"background", testBackground},
		{"events", testEvents},
		{"network", testNetwork},
		{"shell", testShell},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, vm) }) {
			t.Logf("the guest's log:%s", tail("", console.Bytes(), 30))
		}
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if err := vm.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := vm.Run(t.Context(), Job{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a job after Close: %v", err)
	}
	if log := string(vm.Log()); !strings.Contains(log, "Linux version") || log != console.String() {
		t.Errorf("the log has %d bytes, the console got %d", len(log), console.Len())
	}
}

// good runs a job that must go well.
func good(t *testing.T, vm *VM, j Job) *Result {
	t.Helper()
	res, err := vm.Run(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func testStreams(t *testing.T, vm *VM) {
	res := good(t, vm, Job{Steps: []Step{
		as("echo", "out\x01\xff\n", "err"), as("exit", "0"), as("inside"), as("count"), as("flood", fmt.Sprint(MaxOutput+1)),
	}})
	echo := res.Steps[0]
	if string(echo.Stdout) != "out\x01\xff\n" || string(echo.Stderr) != "err" || echo.ExitCode != 0 || !echo.Started {
		t.Errorf("echo: %+v", echo)
	}
	if echo.Duration <= 0 || echo.Start <= 0 || echo.MaxRSS < 1<<20 {
		t.Errorf("echo: start %v, duration %v, %d bytes", echo.Start, echo.Duration, echo.MaxRSS)
	}
	if got := string(res.Steps[2].Stdout); got != "true" {
		t.Errorf("InGuest in the guest: %s", got)
	}
	if cpu := res.Step("count").User; cpu < 5*time.Millisecond {
		t.Errorf("a loop of 5 million rounds took %v of CPU", cpu)
	}
	if flood := res.Steps[4]; len(flood.Stdout) != MaxOutput || !flood.Truncated {
		t.Errorf("flood: %d bytes, truncated %v", len(flood.Stdout), flood.Truncated)
	}
	if !strings.HasSuffix(res.Release, "-amd64") || res.Boot <= 0 {
		t.Errorf("release %q, boot %v", res.Release, res.Boot)
	}
}

func testFailures(t *testing.T, vm *VM) {
	cases := []struct {
		name  string
		steps []Step
		want  []string // of the error
		ran   int
	}{
		{"status 7", []Step{as("echo", "", "the reason"), as("exit", "7"), as("exit", "0")}, []string{"step exit ended with exit status 7"}, 2},
		{"may fail", []Step{{Name: "x", Args: []string{"/init", "7"}, Env: []string{roleVar + "=exit"}, MayFail: true}, as("exit", "0")}, nil, 2},
		{"no such program", []Step{{Args: []string{"/no/such"}}, as("exit", "0")}, []string{"step such could not be run", "no such file"}, 0},
		{"no such namespace folder", []Step{{Args: []string{"/init"}, Dir: "/no/such"}}, []string{"could not be run"}, 0},
		{"no such role", []Step{as("nobody")}, []string{"exit status 98", "no role nobody"}, 1},
	}
	for _, c := range cases {
		res, err := vm.Run(t.Context(), Job{Steps: c.steps})
		var se *StepError
		if (err != nil) != (len(c.want) > 0) || err != nil && !errors.As(err, &se) {
			t.Errorf("%s: error %v", c.name, err)
		}
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error lacks %q: %v", c.name, want, err)
			}
		}
		ran := 0
		for _, s := range res.Steps {
			if s.Started {
				ran++
			}
		}
		if ran != c.ran {
			t.Errorf("%s: %d steps ran, want %d", c.name, ran, c.ran)
		}
	}
}

// testClock: the guest's time does not run faster than the host's.
func testClock(t *testing.T, vm *VM) {
	res := good(t, vm, Job{Steps: []Step{{Args: []string{"sleep", "1"}}}})
	if res.Duration < 900*time.Millisecond {
		t.Errorf("a second of the guest's took %v", res.Duration)
	}
	khz := tscFrequency()
	if want := fmt.Sprintf("tsc: Detected %d.%03d MHz", khz/1000, khz%1000); !strings.Contains(string(vm.Log()), want) {
		t.Errorf("the kernel's log lacks %q: it has measured the counter itself", want)
	}
}

func testStdin(t *testing.T, vm *VM) {
	in := pattern(300_000) // several windows
	cat := as("cat")
	cat.Stdin = bytes.NewReader(in)
	var out bytes.Buffer
	cat.Stdout = &out
	// One who does not read holds nobody up.
	deaf := as("serve")
	deaf.Stdin, deaf.Background, deaf.Ready, deaf.Stop = bytes.NewReader(pattern(1_000_000)), true, "serving", true
	res := good(t, vm, Job{Steps: []Step{deaf, cat}})
	if !bytes.Equal(out.Bytes(), in) {
		t.Errorf("cat gave back %d bytes of %d, or others", out.Len(), len(in))
	}
	if len(res.Steps[1].Stdout) != 0 {
		t.Error("what went to a writer was kept as well")
	}
	r, w := io.Pipe()
	defer w.Close()
	cat.Stdin, cat.Stdout = r, failingWriter{}
	go func() { _, _ = w.Write([]byte("x")); w.Close() }()
	if _, err := vm.Run(t.Context(), Job{Steps: []Step{cat}}); !errors.Is(err, errFailing) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failingWriter struct{}

var errFailing = errors.New("failing on purpose")

func (failingWriter) Write([]byte) (int, error) { return 0, errFailing }

func testTerminal(t *testing.T, vm *VM) {
	res := good(t, vm, Job{Steps: []Step{{
		Args: []string{"sh"}, Terminal: true, Rows: 33, Cols: 99,
		Stdin: strings.NewReader("stty size; test -t 0 && echo a-term''inal; exit\n"),
	}}})
	if out := string(res.Steps[0].Stdout); !strings.Contains(out, "33 99") || !strings.Contains(out, "a-terminal") {
		t.Errorf("the terminal had:\n%s", out)
	}
}

func testFiles(t *testing.T, vm *VM) {
	const size = 5_000_000
	j := Job{
		Steps: []Step{
			as("file", "/out/big", fmt.Sprint(size)), as("file", "/out/empty", "0"),
			{Args: []string{"sh", "-c", "mkdir -p /out/sub; echo x > /out/sub/file; ln -s / /out/sub/root"}},
			as("exit", "3"),
		},
		Collect: []string{"/out/*", "/out/big", "/etc/lab-test", "/proc/sys/kernel/ostype", "/no/such*"},
	}
	res, err := vm.Run(t.Context(), j)
	var se *StepError
	if !errors.As(err, &se) || se.ExitCode != 3 {
		t.Errorf("error %v", err)
	}
	var names []string
	for _, f := range res.Files {
		names = append(names, f.Path)
	}
	if got, want := strings.Join(names, " "), "/etc/lab-test /out/big /out/empty /out/sub/file /proc/sys/kernel/ostype"; got != want {
		t.Errorf("collected %s, want %s", got, want)
	}
	if big, _ := res.File("/out/big"); !bytes.Equal(big, pattern(size)) {
		t.Errorf("the big file came with %d bytes, or others", len(big))
	}
	if f := res.Files[0]; string(f.Data) != "here\n" || f.Mode != 0o600 {
		t.Errorf("the file that was put there: %q, %v", f.Data, f.Mode)
	}
	if kind, _ := res.File("/proc/sys/kernel/ostype"); string(kind) != "Linux\n" {
		t.Errorf("ostype: %q", kind)
	}
	res, err = vm.Run(t.Context(), Job{Collect: []string{"/out/*"}, MaxFiles: size - 1})
	if err == nil || !strings.Contains(err.Error(), "/out/big") || len(res.Files) != 2 {
		t.Errorf("files beyond the limit: %v, %d files", err, len(res.Files))
	}
	good(t, vm, Job{Steps: []Step{{Args: []string{"rm", "-r", "/out/big", "/out/sub"}}}})
}

func testTimeouts(t *testing.T, vm *VM) {
	hang := as("hang")
	// A step has begun when it has written, which it may not come to on a busy host.
	hangs := func(limit func(*Job, time.Duration)) (res *Result, err error) {
		untilBegun(func(timeout time.Duration) bool {
			j := Job{Steps: []Step{hang, as("exit", "0")}}
			limit(&j, timeout)
			res, err = vm.Run(t.Context(), j)
			return res != nil && len(res.Steps[0].Stdout) > 0
		})
		return res, err
	}
	_, err := hangs(func(j *Job, timeout time.Duration) { j.Steps[0].Timeout = timeout })
	var se *StepError
	if !errors.As(err, &se) || !se.TimedOut || se.Signal != syscall.SIGKILL || !strings.Contains(err.Error(), "hanging") {
		t.Errorf("a step's time-out: %v", err)
	}
	res, err := hangs(func(j *Job, timeout time.Duration) { j.Timeout = timeout })
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, new(*MachineError)) || !strings.Contains(err.Error(), "hanging") {
		t.Errorf("a job's time-out: %v", err)
	}
	if !res.Steps[0].Stopped || res.Steps[1].Started {
		t.Errorf("a job's time-out: %+v", res.Steps)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	hang.Stdout = writerFunc(func([]byte) { cancel(enough) })
	if _, err := vm.Run(ctx, Job{Steps: []Step{hang}}); !errors.Is(err, enough) {
		t.Errorf("a job that is cancelled: %v", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func testBackground(t *testing.T, vm *VM) {
	server, waited, failing := as("serve"), as("exit", "0"), as("exit", "5")
	server.Background, server.Ready, server.Stop = true, "serving", true
	waited.Background = true
	res := good(t, vm, Job{Steps: []Step{server, waited, as("exit", "0")}})
	if s := res.Steps[0]; string(s.Stdout) != "served" || !s.Stopped || s.ExitCode != 3 {
		t.Errorf("the server that is stopped: %+v", s)
	}
	if res.Steps[1].Stopped {
		t.Error("a background step was not waited for")
	}
	// The failure of one ends the others.
	failing.Background = true
	hang := as("hang")
	res, err := vm.Run(t.Context(), Job{Steps: []Step{failing, hang}})
	if err == nil || res.Steps[0].ExitCode != 5 || res.Steps[1].Started && !res.Steps[1].Stopped {
		t.Errorf("a failure in the background: %v", err)
	}
	server.Ready = "something else"
	server.Timeout = 500 * time.Millisecond
	_, err = vm.Run(t.Context(), Job{Steps: []Step{server, as("exit", "0")}})
	if err == nil || !strings.Contains(err.Error(), "before it was ready") {
		t.Errorf("one that never is ready: %v", err)
	}
	// What a step leaves running is gone with it, even from another session.
	good(t, vm, Job{Steps: []Step{
		{Args: []string{"sh", "-c", "setsid sleep 1000 & sleep 0.1"}},
		{Args: []string{"sh", "-c", "! pidof sleep"}},
	}})
}

func testEvents(t *testing.T, vm *VM) {
	var events []string
	job := Job{
		Steps: []Step{
			as("signal", "first", "data"),
			{Args: []string{"lab-event", "second", "more"}},
			{Args: []string{"lab-event", "refused"}, MayFail: true},
		},
		OnEvent: func(ctx context.Context, e Event) ([]byte, error) {
			events = append(events, fmt.Sprintf("%s:%s:%s", e.Step, e.Name, e.Data))
			if e.Name == "refused" {
				return nil, errors.New("no, never")
			}
			return []byte("answer to " + e.Name), ctx.Err()
		},
	}
	res := good(t, vm, job)
	if got, want := strings.Join(events, " "), "signal:first:data lab-event:second:more lab-event:refused:"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if got := string(res.Steps[0].Stdout); got != "answer to first <nil>" {
		t.Errorf("the program got %q", got)
	}
	if got := string(res.Steps[1].Stdout); got != "answer to second\n" {
		t.Errorf("the command got %q", got)
	}
	if s := res.Steps[2]; s.ExitCode != 1 || !strings.Contains(string(s.Stderr), "no, never") {
		t.Errorf("the refused one: %+v", s)
	}
}

func testNetwork(t *testing.T, vm *VM) {
	good(t, vm, Job{Steps: []Step{
		{Args: []string{"ip", "link", "add", "lab0", "address", "02:00:00:00:00:01", "type", "dummy"}},
	}})
	res := good(t, vm, Job{
		Namespaces: []string{"empty"},
		Interfaces: []Interface{{
			MAC: "02:00:00:00:00:01", Name: "eth7", Netns: "inner", MTU: 4000,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24"), netip.MustParsePrefix("fd07::1/64")},
			Routes:    []Route{{To: netip.MustParsePrefix("10.8.0.0/16"), Via: netip.MustParseAddr("10.7.0.2")}},
		}},
		Steps: []Step{
			{Name: "addresses", Netns: "inner", Args: []string{"ip", "-br", "addr", "show", "eth7"}},
			{Name: "mtu", Netns: "inner", Args: []string{"cat", "/sys/class/net/eth7/mtu"}},
			{Name: "routes", Netns: "inner", Args: []string{"ip", "route"}},
			{Name: "empty", Netns: "empty", Args: []string{"ls", "/sys/class/net"}},
			{Name: "outside", Args: []string{"ls", "/sys/class/net"}},
			{Name: "event", Netns: "inner", Args: []string{"lab-event", "x"}},
			{Name: "groups", Netns: "inner", Args: []string{"ls", "/sys/fs/cgroup/lab"}},
		},
	})
	for name, want := range map[string]string{
		"addresses": "10.7.0.1/24 fd07::1/64", "mtu": "4000", "routes": "10.8.0.0/16 via 10.7.0.2",
		"empty": "lo", "outside": "lo",
	} {
		if got := strings.TrimSpace(string(res.Step(name).Stdout)); !strings.Contains(got, want) || strings.Contains(got, "fe80") || name == "empty" && got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	_, err := vm.Run(t.Context(), Job{Interfaces: []Interface{{MAC: "02:00:00:00:00:01", Netns: "inner", Addresses: []netip.Prefix{netip.MustParsePrefix("10.7.0.9/24")}}}})
	if err != nil {
		t.Errorf("setting up again what is there: %v", err)
	}
}

func testShell(t *testing.T, vm *VM) {
	res := good(t, vm, Job{Steps: []Step{{Args: []string{"sh", "-c", "cat /etc/lab-test; pwd; id -u; hostname; ulimit -n; echo $HOME"}}}})
	if got, want := string(res.Steps[0].Stdout), "here\n/tmp\n0\nlab\n131072\n/root\n"; got != want {
		t.Errorf("the shell says %q, want %q", got, want)
	}
}
