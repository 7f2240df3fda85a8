//go:build linux

package steer

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A holder is a process that has a link open.
type holder struct {
	pid     int
	command string
	tag     string // of the link's program
}

// findHolder looks for a process that has the link of a program to an interface
// open. It sees the processes that this one may look into: all for root, those of
// the same user otherwise.
func findHolder(ifindex int, program uint32) (holder, bool) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return holder{}, false
	}
	for _, path := range links {
		// anon_inode:bpf_link, or with a hyphen before Linux 5.11.
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "anon_inode:bpf") || !strings.HasSuffix(target, "link") {
			continue
		}
		process := filepath.Dir(filepath.Dir(path))
		text, err := os.ReadFile(filepath.Join(process, "fdinfo", filepath.Base(path)))
		if err != nil {
			continue
		}
		info := parseFDInfo(string(text))
		if info["link_type"] != "xdp" || info["ifindex"] != strconv.Itoa(ifindex) || info["prog_id"] != strconv.Itoa(int(program)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(process, "comm"))
		return holder{pid: pid, command: strings.TrimSpace(string(name)), tag: info["prog_tag"]}, true
	}
	return holder{}, false
}

// parseFDInfo splits the lines "name:\tvalue" of a file of /proc/PID/fdinfo.
func parseFDInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			info[name] = strings.TrimSpace(value)
		}
	}
	return info
}
