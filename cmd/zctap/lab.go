//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
	"github.com/zctap/zctap/lab/vfiouser"
)

// What the guest of `zctap lab` finds: a NIC in its first network namespace,
// and at the other end of the wire another one in the namespace labPeer.
const (
	labPeer  = "peer"
	labQueue = 1 // for zero-copy receive, which can't have queue 0
)

var (
	labOurs  = []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24"), netip.MustParsePrefix("fd77::1/64")}
	labPeers = []netip.Prefix{netip.MustParsePrefix("10.77.0.2/24"), netip.MustParsePrefix("fd77::2/64")}
)

// labOptions are what the flags of `zctap lab` say.
type labOptions struct {
	kernel, accel, fault, pcap string
	noDevice, gvnic            bool
	cpus, queues, mtu          int
	memory                     byteSize
	timeout                    time.Duration
	verbose, asJSON            bool
	size                       byteSize
}

func (o *labOptions) add(fs *flag.FlagSet) {
	fs.StringVar(&o.kernel, "kernel", "", "`VERSION` of the kernel, such as 7.3 (default the newest of the mirror)")
	fs.BoolVar(&o.noDevice, "nodev", false, "no network device but the loopback")
	fs.BoolVar(&o.gvnic, "gvnic", false, "two modelled gVNICs joined by a wire: eth0, and eth1 in namespace "+labPeer+" (default)")
	fs.StringVar(&o.fault, "fault", "", "`FAULTS` of eth0's device: drop=P, duplicate=P, reorder=P, corrupt=P, corruptbad=P, nosplit, starve[=D], late=D, flap=D, linkdown, reset, seed=N")
	fs.StringVar(&o.pcap, "pcap", "", "record what passes on the wire in `FILE`")
	fs.IntVar(&o.cpus, "cpus", 1, "`NUMBER` of the guest's CPUs")
	fs.IntVar(&o.queues, "queues", 2, "`NUMBER` of queue pairs of each device")
	fs.IntVar(&o.mtu, "mtu", 1500, "`BYTES` of the devices' MTU, up to 9000")
	o.memory = lab.DefaultMemory
	fs.Var(&o.memory, "memory", "`BYTES` of the guest's memory")
	fs.StringVar(&o.accel, "accel", "tcg", "`HOW` the CPU is emulated: tcg, kvm or auto")
	fs.DurationVar(&o.timeout, "timeout", 0, "end the machine after `DURATION` (default 5m, none for shell)")
	fs.BoolVar(&o.verbose, "verbose", false, "show the kernel's log")
	fs.BoolVar(&o.asJSON, "json", false, "demo: print the result as JSON")
	o.size = 100_000_000
	fs.Var(&o.size, "size", "demo: `BYTES` to receive")
}

const labUsage = "run PROGRAM ARGS... | shell | demo | clean"

// runLab runs something in a virtual machine with a modelled NIC.
func runLab(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("lab")
	var o labOptions
	o.add(fs)
	err := fs.Parse(args)
	if err == nil && fs.NArg() > 1 && fs.Arg(0) != "run" {
		// Flags may stand behind the verb, too, but for run: those are the program's.
		verb := fs.Arg(0)
		if err = fs.Parse(fs.Args()[1:]); err == nil && fs.NArg() > 0 {
			return usagef("unexpected argument %q", fs.Arg(0))
		}
		args = []string{verb}
	} else {
		args = fs.Args()
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		help(env.stdout, fs, []string{labUsage})
		return errHelp
	case err != nil:
		return usageError{err}
	case len(args) == 0:
		return usagef("say what to do: %s", labUsage)
	case o.noDevice && (o.gvnic || o.fault != "" || o.pcap != ""):
		return usagef("--gvnic, --fault and --pcap need devices, which --nodev does without")
	}
	switch args[0] {
	case "clean":
		return lab.Clean(ctx, "")
	case "run":
		if len(args) > 1 && (args[1] == "-h" || args[1] == "--help") {
			help(env.stdout, fs, []string{labUsage})
			return errHelp
		}
		if len(args) < 2 {
			return usagef("run: PROGRAM is missing")
		}
		return o.runProgram(ctx, env, args[1:])
	case "shell":
		return o.runShell(ctx, env)
	case "demo":
		return o.runDemo(ctx, env)
	}
	return usagef("nothing called %q: there are %s", args[0], labUsage)
}

// A labSetup is a machine, and the job of setting up its network.
type labSetup struct {
	machine  lab.Machine
	job      lab.Job
	nic      *gvnic.Device // eth0; nil without devices
	progress *labProgress
	close    func() error
}

// setup describes the machine. Its close ends the devices.
func (o *labOptions) setup(env *environ) (*labSetup, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &labSetup{progress: newLabProgress(env.stderr), close: func() error { return nil }}
	s.machine = lab.Machine{
		Kernel: o.kernel, CPUs: o.cpus, Memory: int64(o.memory), Accel: o.accel,
		Files:    []lab.File{{Path: "/usr/local/bin/zctap", Source: self, Program: true}},
		Tools:    []string{"busybox", "ethtool", "ip"},
		Progress: s.progress.show,
	}
	s.job.Timeout = o.timeout
	if o.verbose {
		s.machine.Console = env.stderr
	}
	if o.noDevice {
		return s, nil
	}
	return s, o.addDevices(s)
}

// addDevices plugs in two devices, joined by a wire.
func (o *labOptions) addDevices(s *labSetup) error {
	faults, err := gvnic.ParseFaults(o.fault)
	if err != nil {
		return usageError{err}
	}
	a, err := gvnic.New(gvnic.Config{Index: 0, Queues: o.queues, MTU: o.mtu, Faults: faults})
	if err != nil {
		return usageError{err}
	}
	b, err := gvnic.New(gvnic.Config{Index: 1, Queues: o.queues, MTU: o.mtu})
	if err != nil {
		return errors.Join(usageError{err}, a.Close())
	}
	var end gvnic.End = a
	closers := []func() error{b.Close}
	if o.pcap == "" {
		closers = append(closers, a.Close)
	} else {
		f, err := os.Create(o.pcap)
		if err != nil {
			return errors.Join(err, a.Close(), b.Close())
		}
		r := gvnic.Pcap(a, f)
		end = r
		closers = append(closers, r.Close, f.Close) // the recorder closes a
	}
	gvnic.Join(end, b)
	s.nic = a
	s.close = func() (err error) {
		for _, f := range closers {
			err = errors.Join(err, f())
		}
		return err
	}
	s.machine.Devices = []vfiouser.Device{a, b}
	s.machine.Modules = []string{"gve"}
	s.job.Interfaces = []lab.Interface{
		{MAC: macOf(a), Name: "eth0", Addresses: labOurs, MTU: o.mtu},
		{MAC: macOf(b), Name: "eth1", Addresses: labPeers, MTU: o.mtu, Netns: labPeer},
	}
	return nil
}

func macOf(d *gvnic.Device) string {
	m := d.MAC()
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// run runs the job, and ends the devices.
func (s *labSetup) run(ctx context.Context) (*lab.Result, error) {
	res, err := lab.Run(ctx, s.machine, s.job)
	s.progress.end()
	return res, errors.Join(err, s.close())
}

// runProgram runs one program of the host's in the guest. Its exit code is ours.
func (o *labOptions) runProgram(ctx context.Context, env *environ, args []string) error {
	s, err := o.setup(env)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil && args[0] == "zctap" {
		program, err = os.Executable()
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	inside := "/usr/local/bin/" + filepath.Base(program)
	if inside != s.machine.Files[0].Path {
		s.machine.Files = append(s.machine.Files, lab.File{Path: inside, Source: program, Program: true})
	}
	s.job.Steps = []lab.Step{{
		Args: append([]string{inside}, args[1:]...), Stdin: pipedInput(env.stdin),
		Stdout: s.progress.before(env.stdout), Stderr: s.progress.before(env.stderr),
	}}
	_, err = s.run(ctx)
	var failed *lab.StepError
	if errors.As(err, &failed) && failed.StepResult.Error == "" && failed.Signal == 0 && !failed.TimedOut {
		return exitError{failed.ExitCode}
	}
	return err
}

// pipedInput is what a program reads: not a terminal, from which a read could
// not be called back.
func pipedInput(r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok && isTerminal(f) {
		return strings.NewReader("")
	}
	return r
}

// A labProgress shows what goes on until the guest runs.
type labProgress struct {
	w        io.Writer
	terminal bool
	stage    string
	open     bool // a line on the terminal is to be cleared
}

func newLabProgress(w io.Writer) *labProgress {
	return &labProgress{w: w, terminal: isTerminal(w)}
}

func (p *labProgress) show(e lab.Progress) {
	line := e.Stage
	if e.Text != "" {
		line += ": " + e.Text
	}
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s %.0f %%", line, e.Percent)
		p.open = true
	case p.stage != e.Stage:
		fmt.Fprintln(p.w, line)
	}
	p.stage = e.Stage
}

func (p *labProgress) end() {
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
}

// before is w, with the progress' line cleared before anything is written.
func (p *labProgress) before(w io.Writer) io.Writer { return &clearing{p, w} }

type clearing struct {
	p *labProgress
	w io.Writer
}

func (c *clearing) Write(b []byte) (int, error) {
	c.p.end()
	return c.w.Write(b)
}
