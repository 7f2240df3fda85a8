//go:build linux

package nic

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ringHolders names the processes that hold an io_uring, as far as /proc shows
// them: the kernel does not tell whose a queue's is. At most five.
func ringHolders() string {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	var who []string
	for _, dir := range dirs {
		if holdsRing(dir) {
			who = append(who, describeProcess(filepath.Base(dir)))
		}
		if len(who) == 5 {
			break
		}
	}
	return strings.Join(who, ", ")
}

func holdsRing(dir string) bool {
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false // another user's, or gone
	}
	for _, fd := range fds {
		if to, err := os.Readlink(dir + "/fd/" + fd.Name()); err == nil && to == "anon_inode:[io_uring]" {
			return true
		}
	}
	return false
}

// describeProcess returns such as "1234 (zctap)".
func describeProcess(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return pid
	}
	return fmt.Sprintf("%s (%s)", pid, strings.TrimSpace(string(comm)))
}

// startTime is when a process started, in clock ticks after boot: field 22 of
// proc_pid_stat(5). With the number of the process it names the process for this
// boot, for numbers are given again.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Field 2 is in parentheses and may hold anything, parentheses too.
	_, rest, ok := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// bootID names this boot: proc_sys_kernel_random(5).
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
