//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/zctap/zctap/internal/nic"
)

const nicUsage = "show INTERFACE | plan INTERFACE | restore [INTERFACE]"

// runNIC shows what a network interface is set to, what engine zcrx would
// change there, and reverts what killed processes have left.
func runNIC(_ context.Context, env *environ, args []string) error {
	fs := newFlags("nic")
	queue := fs.Int("queue", 0, "plan: `NUMBER` of the receive queue (default the last that is free)")
	port := fs.Int("port", 0, "plan: `NUMBER` of the TCP port to steer to the queue")
	journal := fs.String("journal", "", "`FOLDER` of the journals (default /run/zctap/nic)")
	unclaimed := fs.Bool("unclaimed", false, "restore: delete steering rules of zctap's, too, that no journal has")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	operands, err := parseOperands(env, fs, args, nicUsage)
	if err != nil {
		return err
	}
	verb, iface := "", ""
	if len(operands) > 0 {
		verb = operands[0]
	}
	if len(operands) > 1 {
		iface = operands[1]
	}
	switch {
	case len(operands) > 2:
		return usagef("unexpected argument %q", operands[2])
	case iface == "" && (verb == "show" || verb == "plan"):
		return usagef("%s: INTERFACE is missing", verb)
	case *port < 0 || *port > 0xffff:
		return usagef("--port is 1 to 65535")
	case *queue < 0:
		return usagef("--queue is from 1")
	}
	switch verb {
	case "show":
		s, err := nic.Inspect(iface)
		if err != nil {
			return err
		}
		return writeJSON(env.stdout, s)
	case "plan":
		return planNIC(env, iface, *queue, *port, *journal, *asJSON)
	case "restore":
		return restoreNIC(env, nic.RestoreOptions{JournalDir: *journal, Interface: iface, Unclaimed: *unclaimed}, *asJSON)
	}
	return usagef("say what to do: %s", nicUsage)
}

// parseOperands parses flags, which may stand anywhere, and returns the operands.
func parseOperands(env *environ, fs *flag.FlagSet, args []string, usage string) (operands []string, err error) {
	for {
		switch err := fs.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			help(env.stdout, fs, []string{usage})
			return nil, errHelp
		case err != nil:
			return nil, usageError{err}
		}
		if fs.NArg() == 0 {
			return operands, nil
		}
		operands = append(operands, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// planNIC prints what would be changed, and changes nothing.
func planNIC(env *environ, iface string, queue, port int, journal string, asJSON bool) error {
	w := nic.Want{Queue: nic.AnyQueue, JournalDir: journal, DryRun: true}
	if queue > 0 {
		w.Queue = queue
	}
	if port > 0 {
		w.Flows = []nic.Flow{{Proto: nic.TCP, Local: netip.AddrPortFrom(netip.Addr{}, uint16(port))}}
	}
	p, err := nic.NewPlan(iface, w)
	var all *nic.PlanError
	if errors.As(err, &all) && len(all.Obstacles) > 1 {
		for _, o := range all.Obstacles {
			fmt.Fprintf(env.stderr, "zctap nic: %v\n", o)
		}
		return exitError{exitFailed}
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if asJSON {
		return writeJSON(env.stdout, p)
	}
	_, err = fmt.Fprintln(env.stdout, p)
	return err
}

// restoreNIC reverts what processes that have ended left behind.
func restoreNIC(env *environ, o nic.RestoreOptions, asJSON bool) error {
	reports, err := nic.Restore(o)
	if asJSON {
		if reports == nil {
			reports = []nic.Report{} // a list, not null
		}
		return errors.Join(writeJSON(env.stdout, reports), err)
	}
	for _, r := range reports {
		fmt.Fprintln(env.stdout, r)
	}
	if len(reports) == 0 && err == nil {
		fmt.Fprintln(env.stdout, "nothing to restore")
	}
	return err
}

// dryRun prints what receiving by f from listen would change on the interface.
func (f *nicFlags) dryRun(env *environ, listen string, asJSON bool) error {
	if f.iface == "" {
		return usagef("--dry-run is for an --interface")
	}
	port := 0
	if a, err := netip.ParseAddrPort(listen); err == nil {
		port = int(a.Port())
	} else if len(listen) > 1 && listen[0] == ':' {
		if port, err = strconv.Atoi(listen[1:]); err != nil {
			return usagef("--listen %s: with --dry-run the port is a number", listen)
		}
	}
	return planNIC(env, f.iface, f.queue, port, "", asJSON)
}
