//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
)

// A Result is what came of a job.
type Result struct {
	Release string        // of the guest's kernel
	Boot    time.Duration // from QEMU's start until the guest was ready
	// Duration is from the start of the job until its last frame.
	Duration time.Duration
	Steps    []StepResult // as in Job.Steps
	Files    []Collected  // by path
	// KernelLog is what the guest's kernel has logged so far. Of very much only
	// the beginning and the end are kept.
	KernelLog []byte
	// Splats are the kernel's complaints so far, known ones included.
	Splats []Splat
}

// A StepResult is how a step ended.
type StepResult struct {
	Name     string
	Started  bool           // false: the job ended before, or see Error
	Error    string         // why it could not be started
	ExitCode int            // exit status, if it ended by itself
	Signal   syscall.Signal // that killed it, or 0
	TimedOut bool           // it was killed, since its time was up
	Stopped  bool           // it was stopped or killed, since the job ended
	NotReady bool           // it never signalled Step.Ready
	// Stdout and Stderr are what it wrote, unless the Step has writers for that.
	// Truncated says that there was more than MaxOutput.
	Stdout, Stderr []byte
	Truncated      bool
	Start          time.Duration // on the guest's clock, since its kernel started
	Duration       time.Duration // likewise on the guest's clock
	User, System   time.Duration // CPU time of the process and of the children that it waited for
	MaxRSS         int64         // bytes of memory, at most
}

// failed reports whether the step ended as it should not.
func (s *StepResult) failed() bool {
	return s.Error != "" || s.TimedOut || s.NotReady || !s.Stopped && (s.ExitCode != 0 || s.Signal != 0)
}

// A Collected is a file of the guest's.
type Collected struct {
	Path string
	Mode fs.FileMode // permissions
	Data []byte
}

// File returns the contents of a collected file.
func (r *Result) File(path string) ([]byte, bool) {
	for i := range r.Files {
		if r.Files[i].Path == path {
			return r.Files[i].Data, true
		}
	}
	return nil, false
}

// Step returns the result of the first step of that name, or nil.
func (r *Result) Step(name string) *StepResult {
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			return &r.Steps[i]
		}
	}
	return nil
}

// A StepError says that a step failed.
type StepError struct {
	StepResult
}

// Error tells how the step ended, and the end of what it wrote to its standard error.
func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lab: step %s ", e.Name)
	switch {
	case e.StepResult.Error != "":
		fmt.Fprintf(&b, "could not be run: %s", e.StepResult.Error)
	case e.TimedOut:
		fmt.Fprintf(&b, "was killed: its time was up after %v", e.Duration.Round(time.Millisecond))
	case e.Signal != 0:
		fmt.Fprintf(&b, "was killed by signal %d (%v)", int(e.Signal), e.Signal)
	default:
		fmt.Fprintf(&b, "ended with exit status %d", e.ExitCode)
	}
	if e.NotReady {
		b.WriteString(" before it was ready")
	}
	text := e.Stderr
	if len(text) == 0 {
		text = e.Stdout
	}
	b.WriteString(tail("; it wrote last:", text, 20))
	return b.String()
}

// tail words the last lines of a text, to be added to an error.
func tail(head string, text []byte, lines int) string {
	all := strings.Split(strings.TrimRight(string(text), "\r\n\t "), "\n")
	if len(all) == 1 && all[0] == "" {
		return ""
	}
	return head + "\n\t" + strings.Join(all[max(0, len(all)-lines):], "\n\t")
}

// stepErrors returns what is wrong with the steps.
func stepErrors(job *Job, results []StepResult) error {
	var errs []error
	for i := range results {
		if results[i].failed() && !job.Steps[i].MayFail {
			errs = append(errs, &StepError{results[i]})
		}
	}
	return errors.Join(errs...)
}
