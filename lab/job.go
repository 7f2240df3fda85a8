//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/zctap/zctap/lab/internal/guest"
)

// A Job is what a machine is to do: set up its network, run steps one after the
// other, and hand out files.
type Job struct {
	// Namespaces are network namespaces to make, beside those that Interfaces
	// and Steps name. In each the loopback interface is up.
	Namespaces []string
	// Interfaces are set up, in order, before the first step.
	Interfaces []Interface
	// Steps are started in order, each when the one before has ended or, if that
	// is in the background, is ready. The first that fails ends the job.
	Steps []Step
	// Collect names files of the guest by patterns as path.Match has them, that
	// are read after the last step, failed or not. A folder stands for all
	// that is in it. The guest has an empty folder /out.
	Collect []string
	// MaxFiles bounds the bytes of all collected files; 0 is DefaultMaxFiles.
	MaxFiles int64
	// Timeout bounds the whole job; 0 is DefaultTimeout. A machine whose guest
	// does not end the job then is killed.
	Timeout time.Duration
	// OnEvent is called when a program in the guest signals an event (Signal, or
	// the command lab-event), which waits for what it returns. It runs on
	// a goroutine of its own, may act on the machine's devices, and is to return
	// when ctx ends: the machine has ended. Nil answers all events with nothing.
	OnEvent func(ctx context.Context, e Event) (answer []byte, err error)
}

// An Interface is a network interface of the guest, and how to set it up.
type Interface struct {
	// MAC is its hardware address. If that is empty, Index counts the guest's
	// network devices that are in its first namespace, from 0, loopback aside.
	MAC   string
	Index int
	// Name is what to call it; empty leaves its name.
	Name string
	// Netns is the network namespace to move it to; empty leaves it in the first.
	Netns     string
	Addresses []netip.Prefix // IPv6 without address detection
	Routes    []Route
	MTU       int  // 0 leaves it
	Down      bool // leave it down: no addresses, no routes
}

// A Route is a way to a network.
type Route struct {
	To  netip.Prefix
	Via netip.Addr // the zero Addr: directly, by the interface
}

// A Step is a program to run in the guest, as root.
type Step struct {
	// Name is for people and for Event.Step; empty is the program's own.
	Name string
	// Args are the program and its arguments. The program is an absolute path, or
	// is looked for in the usual folders of the guest.
	Args []string
	// Env is added to a small environment, as "name=value".
	Env []string
	// Dir is the working folder; empty is /tmp.
	Dir string
	// Netns is the network namespace to run in; empty is the first. /sys has that
	// namespace's interfaces.
	Netns string

	// Stdin, if not nil, is what the step reads. If it blocks, as a terminal does,
	// one goroutine stays in its Read when the step has ended.
	Stdin io.Reader
	// Stdout and Stderr, if not nil, get what the step writes, as it comes; they
	// hold up the whole machine while they block. Otherwise it is kept in the
	// StepResult, up to MaxOutput.
	Stdout, Stderr io.Writer
	// Terminal gives the step a terminal of Rows and Cols for its standard files:
	// for a shell. What it writes is Stdout.
	Terminal   bool
	Rows, Cols uint16

	// Background starts the step and goes on with the next one. The job ends when
	// it, too, has ended.
	Background bool
	// Ready, with Background, goes on only when a process of this step has
	// signalled the event of this name. Ending without that is a failure.
	Ready string
	// Stop, with Background, makes the job tell the step to end (SIGTERM, after 3 s
	// SIGKILL) when all others have ended. How it ends does not matter then.
	Stop bool
	// Timeout bounds the time that the step runs, on the guest's clock; 0 leaves it
	// to the job's.
	Timeout time.Duration
	// MayFail lets the job go on after a failure, and be good.
	MayFail bool
}

// An Event is a message of a program in the guest.
type Event struct {
	Step string // name of the step that the program is part of, if that is known
	Name string
	Data []byte // the callee's
}

// DefaultMaxFiles is how many bytes of files a job may collect.
const DefaultMaxFiles = 256 << 20

// MaxOutput is how many bytes of each stream of a step are kept.
const MaxOutput = 16 << 20

// maxSteps is the most steps that a job has.
const maxSteps = 1000

// check returns the job as the agent takes it, and the names of the steps.
func (j *Job) check() (*guest.Job, []string, error) {
	bad := func(format string, args ...any) (*guest.Job, []string, error) {
		return nil, nil, fmt.Errorf("lab: Job."+format, args...)
	}
	if len(j.Steps) > maxSteps {
		return bad("Steps are %d: %d are possible", len(j.Steps), maxSteps)
	}
	if j.Timeout < 0 || j.MaxFiles < 0 {
		return bad("Timeout or MaxFiles is negative")
	}
	g := &guest.Job{Namespaces: j.Namespaces, Collect: j.Collect, MaxFiles: j.MaxFiles}
	if g.MaxFiles == 0 {
		g.MaxFiles = DefaultMaxFiles
	}
	for i, in := range j.Interfaces {
		if err := in.check(); err != nil {
			return bad("Interfaces[%d]: %w", i, err)
		}
		g.Interfaces = append(g.Interfaces, in.toGuest())
		g.Namespaces = append(g.Namespaces, in.Netns)
	}
	var names []string
	for i := range j.Steps {
		s := &j.Steps[i]
		if err := s.check(); err != nil {
			return bad("Steps[%d]: %w", i, err)
		}
		g.Steps = append(g.Steps, s.toGuest())
		g.Namespaces = append(g.Namespaces, s.Netns)
		names = append(names, s.name())
	}
	var namespaces []string
	for _, name := range g.Namespaces {
		if err := checkNamespace(name); err != nil {
			return bad("Namespaces: %w", err)
		}
		if name != "" {
			namespaces = append(namespaces, name)
		}
	}
	g.Namespaces = namespaces
	for _, pattern := range j.Collect {
		if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) {
			return bad("Collect: %q is not an absolute path or pattern", pattern)
		}
	}
	return g, names, nil
}

func checkNamespace(name string) error {
	if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." || len(name) > 64 {
		return fmt.Errorf("%q is no name for a network namespace", name)
	}
	return nil
}

func (in *Interface) check() error {
	if in.MAC != "" {
		if _, err := net.ParseMAC(in.MAC); err != nil {
			return err
		}
	}
	if in.Index < 0 || in.MTU < 0 || len(in.Name) > 15 {
		return errors.New("negative Index or MTU, or a Name of more than 15 bytes")
	}
	for _, a := range in.Addresses {
		if !a.IsValid() {
			return errors.New("an address is not valid")
		}
	}
	for _, r := range in.Routes {
		if !r.To.IsValid() {
			return errors.New("a route's destination is not valid")
		}
	}
	return nil
}

func (in *Interface) toGuest() guest.Interface {
	g := guest.Interface{
		MAC: in.MAC, Index: in.Index, Name: in.Name, Netns: in.Netns,
		Addresses: in.Addresses, MTU: in.MTU, Down: in.Down,
	}
	for _, r := range in.Routes {
		g.Routes = append(g.Routes, guest.Route{To: r.To, Via: r.Via})
	}
	return g
}

func (s *Step) check() error {
	switch {
	case len(s.Args) == 0 || s.Args[0] == "":
		return errors.New("no Args: the first is the program")
	case (s.Ready != "" || s.Stop) && !s.Background:
		return errors.New("only steps in the background have Ready and Stop")
	case s.Timeout < 0:
		return fmt.Errorf("negative Timeout %v", s.Timeout)
	}
	for _, text := range append(append([]string{s.Dir}, s.Args...), s.Env...) {
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("%q has a zero byte in it", text)
		}
	}
	return nil
}

func (s *Step) name() string {
	if s.Name != "" {
		return s.Name
	}
	return path.Base(s.Args[0])
}

func (s *Step) toGuest() guest.Step {
	g := guest.Step{
		Name: s.name(), Args: raw(s.Args), Env: raw(s.Env), Dir: s.Dir, Netns: s.Netns,
		Background: s.Background, Stop: s.Stop, Ready: s.Ready,
		Stdin: s.Stdin != nil, Terminal: s.Terminal, Rows: s.Rows, Cols: s.Cols,
		Timeout: s.Timeout, MayFail: s.MayFail,
	}
	if g.Dir == "" {
		g.Dir = "/tmp"
	}
	if g.Terminal && (g.Rows == 0 || g.Cols == 0) {
		g.Rows, g.Cols = 24, 80
	}
	return g
}

func raw(texts []string) [][]byte {
	var all [][]byte
	for _, t := range texts {
		all = append(all, []byte(t))
	}
	return all
}
