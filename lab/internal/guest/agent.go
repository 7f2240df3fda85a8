//go:build linux

package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openFiles is how many files a process in the guest may have open.
const openFiles = 1 << 17

// An agent does what the runner asks for.
type agent struct {
	out    *Writer
	events *events
	mu     sync.Mutex
	jobs   map[uint16]context.CancelFunc
	steps  map[uint16]*process
}

// agentMain is the agent's process.
func agentMain() int {
	port, err := openPort()
	if err != nil {
		say("%v", err)
		return 1
	}
	a := &agent{
		out:  NewWriter(port),
		jobs: make(map[uint16]context.CancelFunc), steps: make(map[uint16]*process),
	}
	if err := a.run(port); err != nil {
		text := strings.ToValidUTF8(err.Error(), "?")
		say("%s", text)
		if err := a.out.Write(KindFatal, 0, []byte(text[:min(len(text), payloads[KindFatal])])); err != nil {
			say("%v", err)
		}
		return 1
	}
	return 0
}

// run makes the machine ready, says so, and serves the runner until that sends
// for the end.
func (a *agent) run(port *os.File) error {
	text, err := os.ReadFile(ConfigPath)
	if err != nil {
		return err
	}
	var config Config
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", ConfigPath, err)
	}
	limit := syscall.Rlimit{Cur: openFiles, Max: openFiles}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	for _, prepare := range []func() error{
		prepareFiles, prepareGroups, loopbackUp,
		func() error { return loadModules(config.Modules) },
		func() (err error) { a.events, err = serveEvents(a.out, a.ready); return err },
		a.hello,
	} {
		if err := prepare(); err != nil {
			return err
		}
	}
	if config.Job != nil {
		a.startJob(config.Job)
	}
	return a.serve(NewReader(bufio.NewReaderSize(port, 2*MaxChunk), false))
}

// hello reports that the machine is ready.
func (a *agent) hello() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	return a.out.Message(KindHello, 0, Hello{
		Version: Version,
		Release: unix.ByteSliceToString(name.Release[:]),
		CPUs:    runtime.NumCPU(),
		Uptime:  uptime(),
	})
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// serve takes frames from the runner.
func (a *agent) serve(in *Reader) error {
	for {
		f, err := in.Next()
		if err != nil {
			return fmt.Errorf("reading from the runner: %w", err)
		}
		switch f.Kind {
		case KindJob:
			j := new(Job)
			if err := f.Decode(j); err != nil {
				return err
			}
			a.startJob(j)
		case KindCancel:
			a.mu.Lock()
			if cancel := a.jobs[f.ID]; cancel != nil {
				cancel()
			}
			a.mu.Unlock()
		case KindStdin, KindStdinEOF:
			a.mu.Lock()
			p := a.steps[f.ID]
			a.mu.Unlock()
			if p == nil || p.stdin == nil {
				break // it has ended
			}
			if f.Kind == KindStdinEOF {
				p.stdin.end()
			} else {
				p.stdin.put(f.Payload)
			}
		case KindReply:
			var r Reply
			if err := f.Decode(&r); err != nil {
				return err
			}
			a.events.answer(f.ID, r)
		case KindShutdown:
			return nil
		}
	}
}

// startJob runs a job beside whatever else runs.
func (a *agent) startJob(j *Job) {
	ctx, cancel := context.WithCancel(context.Background())
	a.mu.Lock()
	a.jobs[j.ID] = cancel
	a.mu.Unlock()
	go func() {
		var done Done
		if err := a.runJob(ctx, cancel, j); err != nil {
			done.Error = err.Error()[:min(len(err.Error()), 4<<10)]
		}
		cancel()
		a.mu.Lock()
		delete(a.jobs, j.ID)
		a.mu.Unlock()
		if err := a.out.Message(KindDone, j.ID, done); err != nil {
			say("%v", err)
		}
	}()
}

// runJob carries out a job. How its steps end is told in their own frames; an
// error is about the rest.
func (a *agent) runJob(ctx context.Context, abort context.CancelFunc, j *Job) error {
	if err := configureNetwork(ctx, j.Namespaces, j.Interfaces); err != nil {
		return err
	}
	a.runSteps(ctx, abort, j)
	return a.collect(j)
}

// runSteps starts the steps in their order, and returns when all have ended.
// The first that fails ends the others.
func (a *agent) runSteps(ctx context.Context, abort context.CancelFunc, j *Job) {
	var background []*process
	for i := range j.Steps {
		if ctx.Err() != nil {
			break
		}
		s := &j.Steps[i]
		p := a.start(ctx, abort, j.First+uint16(i), s)
		if !s.Background {
			<-p.done
			continue
		}
		background = append(background, p)
		if s.Ready != "" {
			select {
			case <-p.ready:
			case <-p.done:
			}
		}
	}
	for _, p := range background {
		if !p.step.Stop {
			<-p.done
		}
	}
	for _, p := range background {
		if p.step.Stop {
			p.stop()
		}
	}
	for _, p := range background {
		<-p.done
	}
}

// ready notes that a process of step id has signalled the event name.
func (a *agent) ready(id uint16, name string) {
	a.mu.Lock()
	p := a.steps[id]
	a.mu.Unlock()
	if p != nil && p.step.Ready == name {
		p.readyOnce.Do(func() { close(p.ready) })
	}
}
