//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"github.com/zctap/zctap/lab/internal/guest"
)

// maxCollected is the most files that a job collects; their contents are
// bounded by Job.MaxFiles.
const maxCollected = 10000

// errGone is the end of jobs that the machine did not live to finish.
var errGone = errors.New("the machine ended before the job")

// A job is one that the guest is working on.
type job struct {
	*Job
	id, first uint16
	steps     []*step
	files     []Collected
	missing   int64         // bytes of the last file that have not come
	room      int64         // bytes of files that may come
	over      chan struct{} // closed at the end; all else is the reader's until then
	err       error         // what the agent says, beside the steps
}

// A step is one of a job's.
type step struct {
	*Step
	job    *job
	res    StepResult
	exited bool
	failed error // of the caller's writer
	stdin  credit
}

func newJob(j *Job, g *guest.Job, names []string) *job {
	jb := &job{Job: j, id: g.ID, first: g.First, room: g.MaxFiles, over: make(chan struct{})}
	for i, name := range names {
		st := &step{Step: &j.Steps[i], job: jb, res: StepResult{Name: name}}
		st.stdin.init()
		jb.steps = append(jb.steps, st)
	}
	return jb
}

// end is the job's end, and that of its steps.
func (j *job) end(err error) {
	j.err = err
	for _, st := range j.steps {
		st.exited = true
		st.stdin.close()
	}
	close(j.over)
}

// take takes a frame about the step.
func (st *step) take(f guest.Frame) error {
	switch f.Kind {
	case guest.KindStarted:
		if st.res.Started {
			return violation(f, "it has started before")
		}
		st.res.Started = true
		st.stdin.add(guest.StdinWindow)
	case guest.KindStdout:
		st.write(f.Payload, &st.res.Stdout, st.Stdout)
	case guest.KindStderr:
		st.write(f.Payload, &st.res.Stderr, st.Stderr)
	case guest.KindWindow:
		if len(f.Payload) != 4 {
			return violation(f, "it has %d bytes", len(f.Payload))
		}
		st.stdin.add(int64(binary.LittleEndian.Uint32(f.Payload)))
	case guest.KindExit:
		var e guest.Exit
		if err := f.Decode(&e); err != nil {
			return err
		}
		st.exit(&e)
	default:
		return violation(f, "unknown kind")
	}
	return nil
}

// write keeps or passes on what the step has written.
func (st *step) write(p []byte, keep *[]byte, to io.Writer) {
	if to != nil {
		if st.failed == nil {
			_, st.failed = to.Write(p)
		}
		return
	}
	if room := MaxOutput - len(*keep); len(p) > room {
		p = p[:room]
		st.res.Truncated = true
	}
	*keep = append(*keep, p...)
}

// exit takes the end of the step.
func (st *step) exit(e *guest.Exit) {
	r := &st.res
	r.Error = printable(e.Error)
	r.ExitCode, r.Signal = e.Code, syscall.Signal(e.Signal)
	r.TimedOut, r.Stopped, r.NotReady = e.TimedOut, e.Stopped, e.NotReady
	r.Start, r.Duration = e.Start, e.Duration
	r.User, r.System, r.MaxRSS = e.User, e.System, e.MaxRSS
	st.exited = true
	st.stdin.close()
}

// file takes a frame of a collected file.
func (j *job) file(f guest.Frame) error {
	if f.Kind == guest.KindFileData {
		if int64(len(f.Payload)) > j.missing || len(f.Payload) == 0 {
			return violation(f, "%d bytes of a file that lacks %d", len(f.Payload), j.missing)
		}
		last := &j.files[len(j.files)-1]
		last.Data = append(last.Data, f.Payload...)
		j.missing -= int64(len(f.Payload))
		return nil
	}
	var h guest.File
	if err := f.Decode(&h); err != nil {
		return err
	}
	switch {
	case j.missing != 0:
		return violation(f, "the file before lacks %d bytes", j.missing)
	case h.Size < 0 || h.Size > j.room || len(j.files) == maxCollected:
		return violation(f, "%d bytes, with room for %d in %d files", h.Size, j.room, maxCollected-len(j.files))
	}
	j.room -= h.Size
	j.missing = h.Size
	j.files = append(j.files, Collected{
		Path: h.Path, Mode: fs.FileMode(h.Mode) & fs.ModePerm,
		// The size is the guest's word: memory is taken as the bytes come.
		Data: make([]byte, 0, min(h.Size, guest.MaxMessage)),
	})
	return nil
}

// done takes the last frame of the job, and returns what the agent says.
func (j *job) done(f guest.Frame) (failed, err error) {
	var d guest.Done
	if err := f.Decode(&d); err != nil {
		return nil, err
	}
	if j.missing != 0 {
		return nil, violation(f, "its last file lacks %d bytes", j.missing)
	}
	if d.Error != "" {
		failed = fmt.Errorf("lab: in the guest: %s", printable(d.Error))
	}
	for _, st := range j.steps {
		if st.res.Started && !st.exited {
			return nil, violation(f, "its step %s has not ended", st.res.Name)
		}
		if st.failed != nil {
			failed = errors.Join(failed, fmt.Errorf("lab: passing on what step %s wrote: %w", st.res.Name, st.failed))
		}
	}
	return failed, nil
}

// A credit is how many bytes of standard input a step may be sent: none before
// it has started.
type credit struct {
	mu     sync.Mutex
	room   int64
	closed bool
	change *sync.Cond
}

func (c *credit) init() { c.change = sync.NewCond(&c.mu) }

// add makes room for n bytes. They are what the guest says that it has taken,
// which can't be more than there was.
func (c *credit) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room = min(c.room+n, guest.StdinWindow)
	c.change.Signal()
}

// close says that the step reads no more.
func (c *credit) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.change.Signal()
}

// wait waits until there is room, and returns how much; 0 at the end.
func (c *credit) wait() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.room == 0 && !c.closed {
		c.change.Wait()
	}
	if c.closed {
		return 0
	}
	return c.room
}

// spend takes n bytes of the room.
func (c *credit) spend(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room -= int64(n)
}

// pump sends the step's standard input, until that or the step ends.
func (st *step) pump(id uint16, out *guest.Writer) {
	buf := make([]byte, guest.MaxChunk)
	for {
		room := st.stdin.wait()
		if room == 0 {
			return
		}
		n, err := st.Stdin.Read(buf[:min(room, int64(len(buf)))])
		if st.stdin.wait() == 0 {
			return // it has ended meanwhile
		}
		st.stdin.spend(n)
		// If the port is broken the machine is at its end, and says why itself.
		if n > 0 && out.Write(guest.KindStdin, id, buf[:n]) != nil {
			return
		}
		if err != nil {
			_ = out.Write(guest.KindStdinEOF, id, nil)
			return
		}
	}
}

// printable keeps what the guest says from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
