//go:build linux

package xdp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxHolders is how many processes are named.
const maxHolders = 5

// socketHolders names the processes of this network namespace that hold an
// AF_XDP socket, as far as /proc shows them: such as "1234 (zctap), this
// process". Which of them is bound to a queue the kernel tells only where it has
// the XDP socket monitoring interface, which few have. mine is how many the
// caller itself has just made.
func socketHolders(mine int) string {
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return ""
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	var who []string
	for _, dir := range dirs {
		if len(who) == maxHolders {
			break
		}
		// A process whose main thread is elsewhere may have threads here, as we
		// have in a test; of ourselves we know that we are.
		self := filepath.Base(dir) == fmt.Sprint(os.Getpid())
		if ns, err := os.Readlink(dir + "/ns/net"); err != nil || ns != home && !self {
			continue
		}
		switch n := countSockets(dir); {
		case self && n > mine:
			who = append(who, "this process")
		case !self && n > 0:
			who = append(who, describeProcess(dir))
		}
	}
	return strings.Join(who, ", ")
}

// countSockets is how many AF_XDP sockets a process has open. What protocol a
// socket is of is an extended attribute of its inode (sockfs), as lsof reads it.
func countSockets(dir string) (n int) {
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return 0 // another user's, or gone
	}
	var name [16]byte
	for _, fd := range fds {
		file := dir + "/fd/" + fd.Name()
		if to, err := os.Readlink(file); err != nil || !strings.HasPrefix(to, "socket:") {
			continue
		}
		k, err := unix.Getxattr(file, "system.sockprotoname", name[:])
		if err == nil && strings.TrimRight(string(name[:k]), "\x00") == "XDP" {
			n++
		}
	}
	return n
}

// describeProcess is such as "1234 (zctap)".
func describeProcess(dir string) string {
	pid := filepath.Base(dir)
	comm, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return pid
	}
	return fmt.Sprintf("%s (%s)", pid, strings.TrimSpace(string(comm)))
}
