//go:build linux

package netns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts cmd inside the namespace, like cmd.Start. The caller waits for
// it with cmd.Wait. If the caller's process ends first, however it ends, the
// kernel kills cmd.
func (n *NS) Start(cmd *exec.Cmd) error {
	return onHeldThread(cmd, func(held func() error) error { return excursion(n.enter, held) })
}

// Run starts cmd inside the namespace and waits for it, like cmd.Run.
func (n *NS) Run(cmd *exec.Cmd) error {
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Start starts cmd in the caller's namespace, like cmd.Start, and has the
// kernel kill it if the caller's process ends first.
func Start(cmd *exec.Cmd) error {
	return onHeldThread(cmd, func(held func() error) error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return held()
	})
}

// ReexecUser returns a command, not yet started, that runs this program again
// with the given arguments (the program's name is not one of them) in a new
// network namespace that belongs to a new user namespace (user_namespaces(7)).
// There it is root, with every capability over its network namespace and none
// over the machine, so that an ordinary user can make TUN devices, links and
// addresses in it. Files are still accessed as the user who called. The new
// namespace's loopback interface is down.
//
// Start it with [Start].
func ReexecUser(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	return cmd
}

// onHeldThread starts cmd on the thread on which inThread runs its argument,
// and returns when it has been started. The thread is held until the process
// ends: the signal that a process asks for with PR_SET_PDEATHSIG is sent when
// the *thread* that forked it ends (prctl(2)), and a Go program ends threads
// now and then.
func onHeldThread(cmd *exec.Cmd, inThread func(held func() error) error) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error, 1)
	go func() {
		started := false
		err := inThread(func() error {
			if err := cmd.Start(); err != nil {
				return err
			}
			started = true
			pid := cmd.Process.Pid
			result <- nil
			awaitExit(pid)
			return nil
		})
		if !started {
			result <- err
		}
	}()
	if err := <-result; err != nil {
		return fmt.Errorf("netns: starting %s: %w", cmd.Path, err)
	}
	return nil
}

// awaitExit blocks the thread until the child pid has ended, and leaves its
// exit status for the one who calls cmd.Wait. If that one was faster there is
// no such child any more (ECHILD), which means the same.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
