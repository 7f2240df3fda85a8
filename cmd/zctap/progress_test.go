//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// terminal makes a pseudo-terminal: what is written to tty can be read from screen.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testenv.SkipOrFail(t, "needs a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	c, err := screen.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	number := -1
	var failed error
	err = c.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// shows reads from a screen until what it shows matches.
func shows(t *testing.T, screen *os.File, want string) {
	t.Helper()
	if err := screen.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var all []byte
	b := make([]byte, 256)
	for re := regexp.MustCompile(want); !re.Match(all); {
		n, err := screen.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			t.Fatalf("the terminal shows %q, and not %q: %v", all, want, err)
		}
	}
}

// clearLine is what a line that takes another one's place begins with.
const clearLine = `\r\x1b\[K`

// On a terminal a line says how far the work is, of how much if that is known, and is
// gone at its end. Elsewhere there is none.
func TestProgress(t *testing.T) {
	screen, tty := terminal(t)
	p := startProgress(tty, "receiving", 4<<20)
	p.add(1 << 20)
	shows(t, screen, clearLine+`receiving: 1\.0 MiB, \d+\.\d\d GB/s, 25 %`)
	p.add(2 << 20)
	shows(t, screen, clearLine+`receiving: 3\.0 MiB, \d+\.\d\d GB/s, 75 %`)
	p.end()
	shows(t, screen, clearLine+`$`)

	p = startProgress(tty, "receiving", 0)
	p.add(5000)
	shows(t, screen, clearLine+`receiving: 4\.9 KiB, \d+\.\d\d GB/s(\r|$)`)
	p.end()

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var buffer bytes.Buffer
	silent := []*progress{startProgress(w, "receiving", 1), startProgress(&buffer, "receiving", 1)}
	time.Sleep(2 * progressInterval)
	for _, p := range silent {
		p.end()
	}
	w.Close()
	if n, _ := r.Read(make([]byte, 1)); n != 0 || buffer.Len() != 0 {
		t.Errorf("progress is shown where there is no terminal: %d bytes in a pipe, %q", n, &buffer)
	}
}

// A command whose stderr is a terminal shows progress there, and what it reports on
// stdout alone.
func TestDemoProgress(t *testing.T) {
	screen, tty := terminal(t)
	cmd := exec.Command(os.Args[0], "demo", "--wire", "mem", "--json", "--size", fmt.Sprint(int64(1<<50)))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // if it failed
	shows(t, screen, clearLine+`[a-z ,]+: \d+\.\d+ [KMG]iB, \d+\.\d\d GB/s, 0 %`)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted demo succeeded")
	}
	shows(t, screen, `interrupted`)
	if strings.Contains(out.String(), "GB/s,") {
		t.Errorf("progress on stdout: %s", &out)
	}
}
