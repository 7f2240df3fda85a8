//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// agentRole is the value of the Marker in the environment of the agent.
const agentRole = "agent"

// Main does nothing, unless this process is one of a lab machine's own: the
// init process, the agent, the event command, or a tool. Then it does not return.
func Main() {
	role := os.Getenv(Marker)
	switch {
	case role != "" && os.Getpid() == 1:
		initMain()
	case !Inside():
	case role == agentRole && os.Getppid() == 1:
		os.Exit(agentMain())
	case filepath.Base(os.Args[0]) == EventCommand:
		os.Exit(eventMain(os.Args[1:]))
	default:
		startTool(filepath.Base(os.Args[0]), os.Args[1:])
	}
}

// Inside reports whether this process runs in the guest of a lab machine.
func Inside() bool {
	_, err := os.Stat(ConfigPath)
	return err == nil
}

// startTool becomes the tool of that name, if there is one: see ToolsDir.
func startTool(name string, args []string) {
	program := filepath.Join(ToolsDir, "bin", name)
	if _, err := os.Stat(program); err != nil {
		return
	}
	loader := filepath.Join(ToolsDir, "lib", Loader)
	argv := append([]string{loader, "--library-path", filepath.Join(ToolsDir, "lib"), "--argv0", name, program}, args...)
	fmt.Fprintf(os.Stderr, "%s: starting %s: %v\n", name, loader, unix.Exec(loader, argv, os.Environ()))
	os.Exit(127)
}

// say writes a line to the guest's console, where the runner finds it if all else fails.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "lab: "+format+"\n", args...)
}

// initMain is process 1. When it ends, even by a panic, so does the machine:
// then the kernel panics, and the runner sees that.
func initMain() {
	err := mountEssential()
	if err == nil {
		err = runAgent()
	}
	if err != nil {
		say("%v", err)
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		say("switching off: %v", err)
	}
	os.Exit(1) // the kernel panics, and QEMU ends
}

// runAgent starts the agent and waits for its end, reaping orphans meanwhile.
func runAgent() error {
	// Ctrl-C on the console and the like are not for init.
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGTERM)
	agent := exec.Command("/proc/self/exe")
	agent.Env = append(baseEnv(), Marker+"="+agentRole)
	agent.Stderr = os.Stderr
	if err := agent.Start(); err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for the agent: %w", err)
		case pid != agent.Process.Pid:
		case status.Signaled():
			return fmt.Errorf("the agent was killed: %v", status.Signal())
		case status.ExitStatus() != 0:
			return fmt.Errorf("the agent failed with exit status %d", status.ExitStatus())
		default:
			return nil
		}
	}
}

// baseEnv is the environment that steps begin with.
func baseEnv() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "TMPDIR=/tmp", "TERM=linux", "LANG=C.UTF-8", "USER=root",
	}
}

// withEnv returns env with the settings of over, the last of a name counting.
func withEnv(env, over []string) []string {
	at := make(map[string]int)
	var out []string
	for _, list := range [][]string{env, over} {
		for _, kv := range list {
			name, _, _ := strings.Cut(kv, "=")
			if i, ok := at[name]; ok {
				out[i] = kv
				continue
			}
			at[name] = len(out)
			out = append(out, kv)
		}
	}
	return out
}
