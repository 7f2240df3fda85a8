//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// demoSeed is the seed of the demo's stream; any but 0.
const demoSeed = 20221018

// insideVar marks the demo's second process, in its own user namespace.
const insideVar = "ZCTAP_DEMO_INSIDE"

type demo struct {
	transfer
	engine, wire string
	nic          nicFlags
	asJSON       bool
	passedOver   []reason
}

// runDemo receives a stream that the Linux kernel's TCP sends, without copying
// it, verifies every byte, and receives the same by net.Conn for comparison.
func runDemo(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("demo")
	size := byteSize(4 << 30)
	fs.Var(&size, "size", "`BYTES` to receive")
	engine := choice{zctap.Auto, []string{zctap.Auto, zctap.ZCRX, zctap.User, zctap.Copy}}
	fs.Var(&engine, "engine", "`ENGINE`: auto, zcrx, user or copy")
	wire := choice{"auto", []string{"auto", "tun", "veth", "mem"}}
	fs.Var(&wire, "wire", "`WIRE` of engine user: tun or veth (by AF_XDP, as root), where the sender is the kernel's TCP, mem (sender in this process) or auto")
	bufferSize := bufferSizeFlag(fs)
	mtu := addMTUFlag(fs)
	var nic nicFlags
	nic.add(fs)
	sender := fs.String("sender", "", "network namespace `NAME` to start the sender for --interface in (default: it is asked for)")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	if _, err := parseFlags(env, fs, args); err != nil {
		return err
	}
	if engine.value == zctap.Copy && wire.value != "auto" {
		return usagef("engine copy uses the kernel's network: --wire is for engine user")
	}
	d := &demo{
		transfer: transfer{env: env, size: int64(size), seed: demoSeed, bufferSize: bufferSize},
		engine:   engine.value, wire: wire.value, asJSON: *asJSON, nic: nic,
	}
	if err := nic.check(fs, d.engine, d.wire == "veth"); err != nil {
		return err
	}
	if nic.iface == "" {
		if err := idle(fs, "is where to start the sender for an --interface", "sender"); err != nil {
			return err
		}
	}
	if nic.wanted() {
		h, err := nic.hosts(*sender)
		if err != nil {
			return err
		}
		defer h.close()
		return d.run(ctx, h)
	}
	if d.engine == zctap.ZCRX {
		return usagef("engine zcrx needs an --interface, or --nodev; `zctap lab demo` brings its own")
	}
	if d.wire == "mem" {
		return d.run(ctx, nil)
	}
	h, err := newHosts(int(*mtu))
	if errors.Is(err, os.ErrPermission) && os.Getenv(insideVar) == "" {
		// An ordinary user has namespaces of his own in a user namespace.
		var code int
		if code, err = reexec(env, args); err == nil {
			if code != 0 {
				return exitError{code}
			}
			return nil
		}
	}
	if err != nil {
		if d.wire != "auto" {
			return fmt.Errorf("no network namespace for --wire %s: %w", d.wire, err)
		}
		d.passOver("namespaces", err)
		return d.run(ctx, nil)
	}
	defer h.close()
	return d.run(ctx, h)
}

// reexec runs this command again in a new user and network namespace, and
// returns its exit code.
func reexec(env *environ, args []string) (code int, err error) {
	cmd := netns.ReexecUser(append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = env.stdin, env.stdout, env.stderr
	if err := netns.Start(cmd); err != nil {
		return 0, fmt.Errorf("user namespace: %w", err)
	}
	// An interrupt at the terminal goes to the child too, which ends on it; if
	// we are killed the kernel kills the child.
	err = cmd.Wait()
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		if ee.ExitCode() < 0 {
			return exitFailed, nil
		}
		return ee.ExitCode(), nil
	}
	return 0, err
}

func (d *demo) passOver(what string, err error) {
	d.passedOver = append(d.passedOver, reason{what, err.Error()})
	fmt.Fprintf(d.env.stderr, "not %s: %v\n", what, err)
}

// run receives over the best wire there is, then by net.Conn, and reports.
func (d *demo) run(ctx context.Context, h *hosts) error {
	r, err := d.receive(ctx, h)
	if err != nil {
		return err
	}
	r.Why = append(d.passedOver, r.Why...)
	if r.Comparison, err = d.byNetConn(ctx, h); err != nil {
		return err
	}
	verdict := errors.Join(r.check(d.size, true), r.Comparison.check(d.size, true))
	if d.asJSON {
		err = writeJSON(d.env.stdout, r)
	} else {
		err = d.print(r)
	}
	return errors.Join(err, verdict)
}

func (d *demo) receive(ctx context.Context, h *hosts) (*report, error) {
	switch {
	case d.nic.wanted():
		return d.byInterface(ctx, h, &d.nic, d.engine)
	case d.wire == "veth":
		return d.overVeth(ctx, h, d.nic.mode.value)
	}
	switch d.engine {
	case zctap.Copy:
		return d.byCopy(ctx, h)
	case zctap.Auto:
		d.passedOver = append(d.passedOver, reason{zctap.ZCRX, "no interface is named (--interface)"})
	}
	if h != nil {
		r, err := d.overTUN(ctx, h)
		if err == nil || d.wire == "tun" || !unavailable(err) {
			return r, err
		}
		d.passOver("user over tun", err)
	}
	return d.overMemory(ctx)
}

// unavailable: the machine denies a TUN device, rather than something failed.
func unavailable(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) ||
		errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EBUSY) || errors.Is(err, zctap.ErrNotSupported)
}

func (d *demo) print(r *report) error {
	w := d.env.stdout
	from := "the Linux kernel's TCP sent"
	if strings.HasPrefix(r.Wire, "mem") {
		from = "zctap's own TCP, in this process, sent"
	}
	fmt.Fprintf(w, "%s %s; engine %s received and verified it, then net.Conn.Read did.\n", from, humanBytes(d.size), r.Engine)
	for _, p := range r.Why {
		fmt.Fprintf(w, "Not %s: %s\n", p.Engine, p.Reason)
	}
	fmt.Fprintln(w)
	return writeTable(w, r, r.Comparison)
}
