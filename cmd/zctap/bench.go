//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// runBench compares receivers.
func runBench(ctx context.Context, env *environ, args []string) error {
	what := ""
	if len(args) > 0 {
		what = args[0]
	}
	switch what {
	case "tcp":
		return runBenchTCP(ctx, env, args[1:])
	case "udp":
		return runBenchUDP(ctx, env, args[1:])
	case "-h", "-help", "--help":
		_ = runBenchTCP(ctx, env, args[:1]) // errHelp, both
		return runBenchUDP(ctx, env, args[:1])
	case "":
		return usagef("say what to compare: tcp or udp")
	}
	return usagef("no benchmark %q; there are tcp and udp, named before the flags", what)
}

// runBenchTCP compares receivers of a stream. Nothing is verified, and without --touch
// views are counted, not read: what is measured is receiving.
func runBenchTCP(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("bench tcp")
	rounds := fs.Int("rounds", 5, "`NUMBER` of rounds; each receiver runs once in each, in turn")
	size := byteSize(2 << 30)
	fs.Var(&size, "size", "`BYTES` of one transfer")
	engine := choice{zctap.Auto, []string{zctap.Auto, zctap.ZCRX, zctap.User, zctap.Copy}}
	fs.Var(&engine, "engine", "`ENGINE` to compare with net.Conn.Read: user (over TUN, the default), copy (over veth) or zcrx (over --interface)")
	wire := choice{"tun", []string{"tun", "veth"}}
	fs.Var(&wire, "wire", "`WIRE` of engine user: tun, or veth (by AF_XDP: with frames of MTU size, and in generic mode with super-segments)")
	tso := fs.Bool("sender-tso", true, "let the sender's interface cut up segments (off: every receiver gets frames of MTU size only)")
	var nic nicFlags
	nic.add(fs)
	sender := fs.String("sender", "", "network namespace `NAME` to start the sender for --interface in")
	bufferSize := bufferSizeFlag(fs)
	mtu := addMTUFlag(fs)
	handler := fs.Bool("handler", false, "compare also with a handler on the engine's thread (Queue.Handle)")
	touch := choice{untouched, []string{untouched, "crc32c"}}
	fs.Var(&touch, "touch", "what every receiver does with the payload: `READ` nothing of it (none), or all, once (crc32c: its checksum)")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	if _, err := parseFlags(env, fs, args); err != nil {
		return err
	}
	if *rounds < 1 || *rounds > 100 {
		return usagef("--rounds is 1 to 100")
	}
	if err := nic.check(fs, engine.value, wire.value == "veth"); err != nil {
		return err
	}
	if *handler && wire.value == "veth" {
		return usagef("--handler is not for --wire veth")
	}
	if engine.value == zctap.ZCRX && !nic.wanted() {
		return usagef("engine zcrx needs an --interface and a --sender, or --nodev")
	}
	if (nic.iface == "") != (*sender == "") {
		return usagef("--interface and --sender need each other: nobody starts a sender by hand for each round")
	}
	h, err := benchHosts(&nic, *sender, int(*mtu))
	if err != nil {
		return fmt.Errorf("the benchmark needs network namespaces (root, or unshare --user --map-root-user --net): %w", err)
	}
	defer h.close()
	t := &transfer{env: env, size: int64(size), bufferSize: bufferSize, touch: touch.value != untouched}
	res := &benchResult{Rounds: *rounds, Bytes: t.size, Touch: touch.value}
	if wire.value == "veth" && !nic.wanted() {
		t.compareVeth(res, nic.mode.value, *tso)
	} else {
		if !*tso {
			if err := h.sender.SetOffload(vethName, netns.TSO, false); err != nil {
				return err
			}
		}
		by := func(t *transfer) int {
			receive := t.overTUN
			switch {
			case nic.wanted():
				receive = func(ctx context.Context, h *hosts) (*report, error) { return t.byInterface(ctx, h, &nic, engine.value) }
			case engine.value == zctap.Copy:
				receive = t.byCopy
			}
			return res.add(&entrant{receive: receive})
		}
		ours, plain := by(t), res.add(&entrant{receive: t.byNetConn})
		res.compare(ours, plain)
		if *handler {
			other := *t
			other.handler = true
			handled := by(&other)
			res.compare(handled, plain)
			res.compare(handled, ours)
		}
	}
	if err := res.run(ctx, h); err != nil {
		return err
	}
	res.summarize()
	if *asJSON {
		return writeJSON(env.stdout, res)
	}
	return res.print(env.stdout)
}

// compareVeth has engine user by AF_XDP compared with net.Conn. An XDP program in
// the driver of veth keeps the sender from handing over more than a frame of MTU
// size at a time, to whoever receives on the interface: net.Conn is given the same
// frames for comparison, and what it is given without AF_XDP. A program in generic
// mode sees super-segments, too.
func (t *transfer) compareVeth(res *benchResult, mode string, tso bool) {
	add := func(mode string, tso bool) int {
		e := &entrant{receive: t.byNetConn, offload: &tso, frames: "MTU frames"}
		if tso {
			e.frames = "super-segments"
		}
		if mode != "" {
			e.receive = func(ctx context.Context, h *hosts) (*report, error) { return t.overVeth(ctx, h, mode) }
		}
		return res.add(e)
	}
	const plain = ""
	if mode != zctap.XDPGeneric {
		native := mode
		if mode == "auto" {
			native = zctap.XDPCopy
		}
		frames, same := add(native, false), add(plain, false)
		res.compare(frames, same)
		if !tso {
			return
		}
		if mode != "auto" {
			res.compare(frames, add(plain, true))
			return
		}
		supers, unhindered := add(zctap.XDPGeneric, true), add(plain, true)
		res.compare(supers, unhindered)
		res.compare(frames, unhindered)
		res.compare(supers, same)
		return
	}
	res.compare(add(mode, tso), add(plain, tso))
}

// benchHosts are where the stream comes from.
func benchHosts(f *nicFlags, sender string, mtu int) (*hosts, error) {
	if !f.wanted() {
		return newHosts(mtu)
	}
	return f.hosts(sender)
}
