//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// threadNS is the network namespace of the calling thread, as proc(5) has it.
const threadNS = "/proc/thread-self/ns/net"

// An NS is a network namespace, kept alive by a file descriptor. It has no
// name: nothing is left behind in /run/netns by a process that is killed. Its
// methods may be called from any goroutine.
type NS struct {
	f *os.File
}

// New makes a network namespace in which the loopback interface, and no other,
// exists and is up. The caller closes it.
func New() (*NS, error) {
	n := new(NS)
	unshare := func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w%s", err, hint(err))
		}
		return nil
	}
	err := visit(unshare, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		n.f, err = os.Open(threadNS)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netns: making a network namespace: %w", err)
	}
	return n, nil
}

// Close lets go of the namespace. The kernel removes it, and the links in it,
// a moment after the last process, thread, socket or descriptor in it is gone.
func (n *NS) Close() error { return n.f.Close() }

// Do runs fn inside the namespace and returns what fn returns. What fn opens
// there, a socket or a file under /proc/sys/net, stays of that namespace after
// Do has returned. Entering the namespace takes CAP_SYS_ADMIN, unless the process
// was started in it and its threads have not left.
//
// fn runs on a goroutine of its own, which must not unlock it from its thread.
// A goroutine that fn starts is not in the namespace, so fn does best to use
// addresses and not host names, whose lookup starts goroutines. A panic in fn
// is raised again in the caller, and fn may call runtime.Goexit, thus
// testing.T.Fatal, to the same effect as the caller.
func (n *NS) Do(fn func() error) error {
	return visit(n.enter, fn)
}

// enter moves the calling thread into the namespace.
func (n *NS) enter() error {
	if err := setns(n.f); err != nil {
		return fmt.Errorf("netns: entering a network namespace: %w", err)
	}
	return nil
}

// visit runs fn on a goroutine and thread of its own, after move has put that
// thread into another network namespace, and brings the thread back.
func visit(move, fn func() error) error {
	var (
		err      error
		returned bool
		panicked any
		stack    []byte
	)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if panicked = recover(); panicked != nil {
				stack = debug.Stack()
			}
		}()
		err = excursion(move, fn)
		returned = true
	}()
	<-done
	switch {
	case panicked != nil:
		panic(fmt.Sprintf("%v\n\ninside a network namespace:\n%s", panicked, stack))
	case !returned:
		runtime.Goexit()
	}
	return err
}

// excursion runs fn on the calling goroutine between move, which puts its
// thread into another network namespace, and the way back. If there is no way
// back the goroutine stays locked to the thread, and must end soon.
func excursion(move, fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNS)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if setns(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
	}()
	if err := move(); err != nil {
		return err
	}
	return fn()
}

// setns moves the calling thread into the network namespace that f is open on. If
// it is there already nothing is done, which needs no capability.
func setns(f *os.File) error {
	return withFD(f, func(fd int) error {
		var there, here unix.Stat_t
		if unix.Fstat(fd, &there) == nil && unix.Stat(threadNS, &here) == nil && there.Dev == here.Dev && there.Ino == here.Ino {
			return nil
		}
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w%s", err, hint(err))
		}
		return nil
	})
}

// withFD runs fn with the descriptor of f, which a Close meanwhile does not
// turn into that of another file.
func withFD(f *os.File, fn func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) { result = fn(int(fd)) }); err != nil {
		return os.ErrClosed // the only reason that there is
	}
	return result
}

// hint says what to do about a refusal.
func hint(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return " (needs CAP_SYS_ADMIN: run as root, or inside a user namespace)"
	}
	return ""
}
