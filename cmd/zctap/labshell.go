//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab"
)

// shellTimeout bounds a shell that is told no time.
const shellTimeout = 24 * time.Hour

// runShell opens a shell in the guest, on this terminal.
func (o *labOptions) runShell(ctx context.Context, env *environ) error {
	in, ok := env.stdin.(*os.File)
	if !ok || !isTerminal(in) {
		return errors.New("lab shell needs a terminal; without one use lab run")
	}
	s, err := o.setup(env)
	if err != nil {
		return err
	}
	if s.job.Timeout == 0 {
		s.job.Timeout = shellTimeout
	}
	size, err := unix.IoctlGetWinsize(int(in.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		size = &unix.Winsize{Row: 24, Col: 80}
	}
	s.job.Steps = []lab.Step{{
		Args: []string{"/bin/sh", "-l"}, Stdin: in, Stdout: s.progress.before(env.stdout),
		Terminal: true, Rows: size.Row, Cols: size.Col, MayFail: true,
		Env: []string{"PS1=lab:\\w# ", "TERM=" + os.Getenv("TERM")},
	}}
	restore, err := rawTerminal(int(in.Fd()))
	if err != nil {
		return errors.Join(err, s.close())
	}
	defer restore()
	_, err = s.run(ctx)
	return err
}

// rawTerminal has a terminal hand over each key as it is pressed, for the guest's
// own terminal to deal with.
func rawTerminal(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	raw := *old
	// As cfmakeraw(3).
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() {
		// It can't fail where the call before did not, but on a terminal that is gone.
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, old)
	}, nil
}
