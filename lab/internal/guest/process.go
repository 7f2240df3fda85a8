//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// cgroupDir has a control group for each step, named after its number.
	cgroupDir = "/sys/fs/cgroup/lab"
	// stopGrace is how long a step has that is told to end.
	stopGrace = 3 * time.Second
	// drainGrace is how long the output of a dead step is waited for. All its
	// processes are dead by then, so only one that another step holds stays open.
	drainGrace = time.Second
)

// prepareGroups makes the group that the steps' groups are in.
func prepareGroups() error { return os.Mkdir(cgroupDir, 0o755) }

// A process is a step that has been started, with its descendants.
type process struct {
	id        uint16
	step      *Step
	out       *Writer
	cmd       *exec.Cmd
	group     string
	stdin     *stdin        // nil if it has none
	ready     chan struct{} // closed by the event that the step names
	readyOnce sync.Once
	exited    chan struct{} // closed when the first process has ended
	done      chan struct{} // closed when all of it has, and that was reported
	timedOut  atomic.Bool
	stopped   atomic.Bool
}

// start starts a step. Its end, which may be that it could not be started, is
// reported to the runner; if it is a failure that the step must not have, then
// abort is called.
func (a *agent) start(ctx context.Context, abort func(), id uint16, s *Step) *process {
	p := &process{
		id: id, step: s, out: a.out, group: filepath.Join(cgroupDir, strconv.Itoa(int(id))),
		ready: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
	}
	if s.Stdin {
		p.stdin = newStdin()
	}
	a.mu.Lock()
	a.steps[id] = p
	a.mu.Unlock()
	e := &Exit{Start: uptime()}
	files, err := p.open()
	if err == nil {
		err = p.spawn(files)
	}
	files.closeChild()
	if err != nil {
		e.Error = err.Error()[:min(len(err.Error()), 2<<10)]
		close(p.exited)
	}
	go func() {
		defer close(p.done)
		if err == nil {
			p.attend(ctx, files, e)
		}
		files.closeAll()
		a.mu.Lock()
		delete(a.steps, id)
		a.mu.Unlock()
		if err := p.out.Message(KindExit, id, e); err != nil {
			say("%v", err)
		}
		if e.Failed() && !s.MayFail {
			abort()
		}
	}()
	return p
}

// attend is with a process that runs until it and all of its descendants have ended.
func (p *process) attend(ctx context.Context, files *stdio, e *Exit) {
	if err := p.out.Write(KindStarted, p.id, nil); err != nil {
		say("%v", err)
	}
	if p.stdin != nil {
		go p.stdin.feed(files.in, p.id, p.out, p.step.Terminal)
	}
	drained := files.forward(p.out, p.id)
	go p.watch(ctx)
	err := p.cmd.Wait()
	close(p.exited)
	e.Duration = uptime() - e.Start
	p.killAll()
	select {
	case <-drained:
	case <-time.After(drainGrace):
	}
	if p.stdin != nil {
		p.stdin.close()
	}
	files.closeAll()
	<-drained
	p.describe(e, err)
	// The group of processes that die slowly stays.
	if err := os.Remove(p.group); err != nil && !errors.Is(err, unix.EBUSY) {
		say("%v", err)
	}
}

// spawn starts the process in its control group and network namespace.
func (p *process) spawn(files *stdio) error {
	if err := os.Mkdir(p.group, 0o755); err != nil {
		return err
	}
	group, err := os.Open(p.group)
	if err != nil {
		return err
	}
	defer group.Close()
	s := p.step
	if len(s.Args) == 0 {
		return errors.New("no program named")
	}
	args := texts(s.Args)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = withEnv(baseEnv(), texts(s.Env))
	p.cmd.Dir = s.Dir
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = files.child[0], files.child[1], files.child[2]
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Setctty: s.Terminal,
		UseCgroupFD: true, CgroupFD: int(group.Fd()),
	}
	return inNamespace(s.Netns, true, p.cmd.Start)
}

func texts(raw [][]byte) []string {
	var all []string
	for _, r := range raw {
		all = append(all, string(r))
	}
	return all
}

// watch kills the process when its time is up or its job is over.
func (p *process) watch(ctx context.Context) {
	var timeout <-chan time.Time
	if p.step.Timeout > 0 {
		t := time.NewTimer(p.step.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-p.exited:
		return
	case <-timeout:
		p.timedOut.Store(true)
	case <-ctx.Done():
		p.stopped.Store(true)
	}
	p.killAll()
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop() {
	select {
	case <-p.exited:
		return
	default:
	}
	p.stopped.Store(true)
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return // it has just ended
	}
	select {
	case <-p.exited:
	case <-time.After(stopGrace):
		p.killAll()
	}
}

// killAll kills the process and its descendants, wherever these have gone.
func (p *process) killAll() {
	err := os.WriteFile(filepath.Join(p.group, "cgroup.kill"), []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
		say("killing step %d: %v", p.id, err)
	}
}

// describe fills in how the process ended.
func (p *process) describe(e *Exit, err error) {
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		e.Error = fmt.Sprintf("waiting for the process: %v", err)
		return
	}
	state := p.cmd.ProcessState
	e.User, e.System = state.UserTime(), state.SystemTime()
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		e.MaxRSS = int64(usage.Maxrss) << 10 // getrusage(2) has it in KiB
	}
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		e.Signal = int(status.Signal())
	} else {
		e.Code = state.ExitCode()
	}
	e.TimedOut = p.timedOut.Load()
	e.Stopped = p.stopped.Load() && !e.TimedOut
	if p.step.Ready != "" && !e.Stopped {
		select {
		case <-p.ready:
		default:
			e.NotReady = true
		}
	}
}
