// Command zctap shows, uses and measures zero-copy receive: see zctap help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/zctap/zctap/lab"
)

// Exit codes: 0 only if what was asked for happened.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// A verb is one subcommand.
type verb struct {
	name, summary string
	run           func(ctx context.Context, env *environ, args []string) error
}

var verbs = []verb{
	{"demo", "receive a TCP stream without copying it, verify it, and compare with net.Conn", runDemo},
	{"recv", "receive one TCP stream, to a file, a hash or nowhere", runRecv},
	{"send", "send a TCP stream by plain kernel sockets", runSend},
	{"bench", "compare receivers side by side", runBench},
	{"nic", "show, plan and restore what engine zcrx sets on a network interface", runNIC},
	{"lab", "run something in a virtual machine with a modelled NIC, and prove zero-copy there", runLab},
}

// environ is what a verb has of the world.
type environ struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// A usageError is a wrong command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errInterrupted: by a signal.
var errInterrupted = errors.New("interrupted")

// errHelp: the help was asked for and given.
var errHelp = errors.New("help")

func main() {
	lab.Main() // in the guest of a lab machine it does not return
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	env := &environ{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	code := run(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}

// helps are what asks for the list of commands.
var helps = []string{"help", "--help", "-h"}

// run runs the verb that args name and returns the exit code. Every failure is
// one line on stderr.
func run(ctx context.Context, env *environ, args []string) int {
	if len(args) == 0 {
		usage(env.stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "--help", "-h":
		if len(args) > 1 && !slices.Contains(helps, args[1]) { // help COMMAND
			return run(ctx, env, []string{args[1], "--help"})
		}
		usage(env.stdout)
		return exitOK
	case "version", "--version":
		fmt.Fprintln(env.stdout, version())
		return exitOK
	}
	for _, v := range verbs {
		if v.name != args[0] {
			continue
		}
		err := v.run(ctx, env, args[1:])
		var ue usageError
		var ee exitError
		switch {
		case err == nil, errors.Is(err, errHelp):
			return exitOK
		case errors.As(err, &ue):
			fmt.Fprintf(env.stderr, "zctap %s: %v (see zctap %s --help)\n", v.name, err, v.name)
			return exitUsage
		case errors.As(err, &ee):
			return ee.code
		case ctx.Err() != nil:
			err = errInterrupted // whatever that has led to
		}
		fmt.Fprintf(env.stderr, "zctap %s: %v\n", v.name, err)
		return exitFailed
	}
	fmt.Fprintf(env.stderr, "zctap: no command %q (see zctap help)\n", args[0])
	return exitUsage
}

// An exitError is a failure that was reported already.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// version is what was built, and by which Go.
func version() string {
	v := "(unknown)"
	if b, ok := debug.ReadBuildInfo(); ok {
		v = b.Main.Version
	}
	return fmt.Sprintf("zctap %s %s %s/%s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "zctap: zero-copy network receive for Go.\n\nUsage: zctap COMMAND [FLAGS]")
	fmt.Fprintln(w)
	for _, v := range verbs {
		fmt.Fprintf(w, "  %-6s %s\n", v.name, v.summary)
	}
	fmt.Fprintln(w, "\nzctap COMMAND --help tells of its flags, zctap version what was built.")
}
