//go:build linux

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// stdio is the three standard files of a process: its own ends, and ours.
type stdio struct {
	child    [3]*os.File
	in       *os.File // to write what it reads; nil if it reads nothing
	out, err *os.File // to read what it writes; a terminal has no err
}

// open makes the standard files of a process: pipes, or a terminal.
func (p *process) open() (*stdio, error) {
	s := new(stdio)
	if p.step.Terminal {
		return s, s.openTerminal(p.step.Rows, p.step.Cols)
	}
	var err error
	if p.step.Stdin {
		if s.child[0], s.in, err = os.Pipe(); err != nil {
			return s, err
		}
	} else if s.child[0], err = os.Open(os.DevNull); err != nil {
		return s, err
	}
	if s.out, s.child[1], err = os.Pipe(); err != nil {
		return s, err
	}
	s.err, s.child[2], err = os.Pipe()
	return s, err
}

// openTerminal makes a pseudo terminal (pts(4)).
func (s *stdio) openTerminal(rows, cols uint16) error {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	s.out = master
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var number int
	var failed error
	err = raw.Control(func(fd uintptr) {
		number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		if failed == nil {
			failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		}
		if failed == nil {
			failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("making a terminal: %w", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	s.in, s.child = master, [3]*os.File{slave, slave, slave}
	return nil
}

// closeChild closes what only the process has to have open.
func (s *stdio) closeChild() {
	for _, f := range s.child {
		if f != nil {
			f.Close() // a terminal's is closed thrice, to no effect
		}
	}
}

func (s *stdio) closeAll() {
	s.closeChild()
	for _, f := range []*os.File{s.in, s.out, s.err} {
		if f != nil {
			f.Close()
		}
	}
}

// forward sends what the process writes to the runner until it has closed its
// ends, or ours are closed.
func (s *stdio) forward(to *Writer, id uint16) (drained chan struct{}) {
	var wg sync.WaitGroup
	send := func(kind Kind, from *os.File) {
		if from == nil {
			return
		}
		wg.Go(func() {
			buf := make([]byte, MaxChunk)
			for {
				n, err := from.Read(buf)
				if n > 0 && to.Write(kind, id, buf[:n]) != nil || err != nil {
					return // a terminal whose process has gone reads EIO
				}
			}
		})
	}
	send(KindStdout, s.out)
	send(KindStderr, s.err)
	drained = make(chan struct{})
	go func() {
		wg.Wait()
		close(drained)
	}()
	return drained
}

// stdin takes the standard input of a process from the runner, as much as
// StdinWindow, so that a process that does not read holds nobody up.
type stdin struct {
	mu     sync.Mutex
	queue  []byte
	ended  bool
	wake   chan struct{} // something was put, or it has ended
	closed chan struct{} // nobody reads any more
}

func newStdin() *stdin {
	return &stdin{wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// put takes a copy of p. What goes beyond the window is dropped: the runner
// does not send it.
func (s *stdin) put(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && len(s.queue)+len(p) <= StdinWindow {
		s.queue = append(s.queue, p...)
	}
	s.rouse()
}

// end says that no more will come.
func (s *stdin) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.rouse()
}

func (s *stdin) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close has feed end.
func (s *stdin) close() { close(s.closed) }

// take returns what has come, and whether that was all.
func (s *stdin) take() (p []byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, s.queue = s.queue, nil
	return p, s.ended
}

// feed writes the input to the process, and closes the file at the end. A
// terminal stays open, and reads the character EOT instead.
func (s *stdin) feed(to *os.File, id uint16, out *Writer, terminal bool) {
	broken := false
	for last := false; !last; {
		select {
		case <-s.closed:
			return
		case <-s.wake:
		}
		var p []byte
		if p, last = s.take(); len(p) == 0 {
			continue
		}
		if !broken {
			_, err := to.Write(p)
			broken = err != nil // the process has closed its end: drop what still comes
		}
		if err := out.Write(KindWindow, id, binary.LittleEndian.AppendUint32(nil, uint32(len(p)))); err != nil {
			return
		}
	}
	if !terminal {
		to.Close()
		return
	}
	if _, err := to.Write([]byte{4}); err != nil {
		say("standard input: %v", err)
	}
}
