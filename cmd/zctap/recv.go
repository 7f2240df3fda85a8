//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/pattern"
)

// queueFlags are the flags that say which queue to open.
type queueFlags struct {
	engine  choice
	tun     string
	addr    prefix
	host    prefix
	buffers int
	size    *bufferSize
	nic     nicFlags
}

// A prefix is a flag for an address with its network's length.
type prefix struct{ netip.Prefix }

// Set parses s.
func (p *prefix) Set(s string) (err error) {
	if p.Prefix, err = netip.ParsePrefix(s); err != nil {
		return errors.New("not an address with a prefix length, such as 10.88.0.2/24")
	}
	return nil
}

func (f *queueFlags) add(fs *flag.FlagSet) {
	f.engine = choice{zctap.Auto, []string{zctap.Auto, zctap.ZCRX, zctap.User, zctap.Copy}}
	f.addr.Prefix = netip.MustParsePrefix("10.88.0.2/24")
	f.host.Prefix = netip.MustParsePrefix("10.88.0.1/24")
	fs.Var(&f.engine, "engine", "`ENGINE`: auto, zcrx, user or copy")
	fs.StringVar(&f.tun, "tun", "", "receive from the TUN device `NAME`, which is made if there is none")
	fs.Var(&f.addr, "tun-addr", "zctap's `ADDRESS` on the TUN device")
	fs.Var(&f.host, "tun-host", "the kernel's `ADDRESS` on the TUN device")
	fs.IntVar(&f.buffers, "buffers", 0, "`NUMBER` of buffers of the region (default: 32 MiB of them)")
	f.size = bufferSizeFlag(fs)
	f.nic.add(fs)
}

// check says what is wrong with the flags.
func (f *queueFlags) check(fs *flag.FlagSet) error {
	if f.tun == "" {
		if err := idle(fs, "is an address of a --tun device", "tun-addr", "tun-host"); err != nil {
			return err
		}
	}
	if f.tun != "" && f.nic.wanted() {
		return usagef("--tun and --interface or --nodev exclude each other")
	}
	return f.nic.check(fs, f.engine.value, false)
}

func (f *queueFlags) config() zctap.Config {
	engine := f.engine.value
	size := f.size.on(engine)
	if f.nic.wanted() {
		size = int(f.size.byteSize) // a NIC's own buffers are pages
	}
	c := zctap.Config{Engine: engine, Buffers: f.buffers, BufferSize: size}
	f.nic.apply(&c)
	if f.tun != "" {
		c.Interface = f.tun
		c.TUN = &zctap.TUN{Name: f.tun, Addresses: []netip.Prefix{f.addr.Prefix}, Host: []netip.Prefix{f.host.Prefix}}
	}
	return c
}

// spareProcessor has the Go runtime work with two processors (GOMAXPROCS) on a machine of
// one, unless the environment says how many. If there is no idle one, its monitor takes the
// processor from an engine's thread 20 us after that has gone to sleep, each time, and wakes
// another thread to use it, which has nothing to do where all is done in a handler.
func spareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}

// runRecv receives one stream.
func runRecv(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("recv")
	var qf queueFlags
	qf.add(fs)
	listen := fs.String("listen", "", "`ADDRESS` to listen on, such as :9000")
	out := fs.String("out", "none", "write the stream to `FILE`, to - (standard output), or to none")
	hash := fs.Bool("sha256", false, "print the stream's SHA-256")
	seed := fs.Uint64("pattern", 0, "verify the stream of send --pattern `SEED`")
	frames := fs.String("page-frames", "", "write the physical page frames that payload came in to `FILE`, 8 bytes each")
	dryRun := fs.Bool("dry-run", false, "show what engine zcrx would change on the --interface, and end")
	handler := fs.Bool("handler", false, "receive by a handler on the engine's thread (Queue.Handle), not by RecvZC")
	drop := fs.Bool("drop-capabilities", false, "give up the capabilities that only opening needs (not in a build with C)")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	if _, err := parseFlags(env, fs, args); err != nil {
		return err
	}
	if e := qf.engine.value; *dryRun && e != zctap.Auto && e != zctap.ZCRX {
		return usagef("--dry-run shows the settings of engine zcrx, not of %s", e)
	}
	if *dryRun {
		return qf.nic.dryRun(env, *listen, *asJSON)
	}
	if *listen == "" {
		return usagef("--listen is missing")
	}
	if err := qf.check(fs); err != nil {
		return err
	}
	if *out == "-" && *asJSON {
		return usagef("--out - and --json both want standard output")
	}

	if *handler {
		spareProcessor()
	}
	r := &report{Receiver: "zctap", Wire: "network"}
	switch {
	case qf.tun != "":
		r.Wire = "tun " + qf.tun
	case qf.nic.iface != "":
		r.Wire = qf.nic.iface
	}
	q, err := zctap.Open(qf.config())
	if err != nil {
		return err
	}
	// Not before: a FILE is emptied by it.
	s, finish, err := recvSink(env, recvOptions{out: *out, hash: *hash, seed: *seed, frames: *frames}, r)
	if err != nil {
		return errors.Join(err, q.Close())
	}
	if *drop {
		err = q.DropCapabilities()
	}
	if err == nil {
		err = recvOne(ctx, env, q, *listen, *handler, s, r)
	}
	err = errors.Join(err, finish(), r.addQueue(q))
	if err == nil {
		err = r.check(0, *seed != 0)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(env.stdout, r)
	}
	w := env.stdout
	if *out == "-" {
		w = env.stderr
	}
	if r.SHA256 != "" {
		fmt.Fprintf(w, "%s  (SHA-256)\n", r.SHA256)
	}
	return writeTable(w, r)
}

// recvOne accepts one connection of q and receives it to its end.
func recvOne(ctx context.Context, env *environ, q *zctap.Queue, addr string, handler bool, s sink, r *report) error {
	ln, err := q.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	fmt.Fprintf(env.stderr, "engine %s, listening on %s\n", q.Engine(), ln.Addr())
	for _, w := range reasons(q.Why()) {
		fmt.Fprintf(env.stderr, "  not %s: %s\n", w.Engine, w.Reason)
	}
	if mode, why := q.XDPMode(); why != nil {
		fmt.Fprintf(env.stderr, "  AF_XDP in mode %s: %v\n", mode, why)
	}
	if mode, why := q.CopyMode(); why != nil {
		fmt.Fprintf(env.stderr, "  by %s: %v\n", mode, why)
	}
	c, err := ln.AcceptZC()
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	p := startProgress(env.stderr, "received", 0)
	defer p.end()
	return receive(ctx, handler, q, c, s, p, r)
}

// recvOptions are what recv does with the stream.
type recvOptions struct {
	out    string // file, "-" or "none"
	hash   bool
	seed   uint64 // of the pattern to compare with; 0: none
	frames string // file for page frames
}

// recvSink is the sink for o; finish ends it.
func recvSink(env *environ, o recvOptions, r *report) (s sink, finish func() error, err error) {
	var sinks []sink
	finish = func() error { return nil }
	then := func(f func() error) {
		before := finish
		finish = func() error { return errors.Join(before(), f()) }
	}
	switch o.out {
	case "none":
	case "-":
		f, ok := env.stdout.(*os.File)
		if !ok {
			return nil, nil, errors.New("standard output is not a file")
		}
		sinks = append(sinks, fileSink(f))
	default:
		f, err := os.Create(o.out)
		if err != nil {
			return nil, nil, err
		}
		sinks = append(sinks, fileSink(f))
		then(f.Close)
	}
	if o.hash {
		h := sha256.New()
		sinks = append(sinks, func(views [][]byte) error {
			for _, v := range views {
				h.Write(v)
			}
			return nil
		})
		then(func() error {
			r.SHA256 = hex.EncodeToString(h.Sum(nil))
			return nil
		})
	}
	if o.seed != 0 {
		sinks = append(sinks, verifier(pattern.New(o.seed), &r.Mismatches))
	}
	if o.frames != "" {
		p, err := newPageFrames()
		if err != nil {
			return nil, nil, errors.Join(err, finish())
		}
		sinks = append(sinks, p.sink)
		then(func() error { return p.write(o.frames) })
	}
	if len(sinks) == 0 {
		return nil, finish, nil
	}
	return func(views [][]byte) error {
		for _, s := range sinks {
			if err := s(views); err != nil {
				return err
			}
		}
		return nil
	}, finish, nil
}

// fileSink writes views with writev: from the region to the file, without a
// copy in between.
func fileSink(f *os.File) sink {
	fd := int(f.Fd())
	var rest [][]byte
	return func(views [][]byte) error {
		rest = append(rest[:0], views...)
		for todo := rest; len(todo) > 0; {
			n, err := unix.Writev(fd, todo)
			if err == unix.EAGAIN { // somebody else has made the pipe that it is non-blocking
				_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
				n = 0
			}
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return &os.PathError{Op: "writev", Path: strings.TrimSpace(f.Name()), Err: err}
			}
			for len(todo) > 0 && n >= len(todo[0]) {
				n -= len(todo[0])
				todo = todo[1:]
			}
			if n > 0 {
				todo[0] = todo[0][n:]
			}
		}
		return nil
	}
}
