package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/pattern"
)

// sendChunk is what send writes at a time.
const sendChunk = 256 << 10

// runSend sends a stream by the kernel's sockets: the peer of recv and demo.
func runSend(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("send")
	var size byteSize
	fs.Var(&size, "size", "`BYTES` to send; without --in the default is 1GiB")
	in := fs.String("in", "", "send a `FILE`, or - for standard input, instead of a made-up stream")
	seed := fs.Uint64("pattern", 0, "send the verifiable stream of `SEED`, not the same block again and again")
	var datagrams datagramFlags
	fs.IntVar(&datagrams.count, "udp", 0, "send this `NUMBER` of UDP datagrams instead, as fast as the kernel takes them")
	fs.IntVar(&datagrams.size, "datagram", 1200, "`BYTES` of payload of a datagram")
	fs.BoolVar(&datagrams.segment, "gso", false, "give datagrams to the kernel many at a time (UDP_SEGMENT)")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	wait := fs.Duration("wait", 0, "wait up to `DURATION` for a receiver that does not listen yet")
	operands, err := parseFlags(env, fs, args, "ADDRESS")
	if err != nil {
		return err
	}
	if *in != "" && *seed != 0 {
		return usagef("--in and --pattern exclude each other")
	}
	if err := datagrams.check(fs); err != nil {
		return err
	}
	r := sendReport{}
	began := time.Now()
	finish := func(err error) error {
		if err != nil || !*asJSON {
			return err
		}
		r.Seconds = time.Since(began).Seconds()
		return writeJSON(env.stdout, &r)
	}
	if datagrams.count > 0 {
		r.Datagrams, r.Bytes = datagrams.count, int64(datagrams.count)*int64(datagrams.size)
		return finish(sendDatagrams(ctx, operands[0], &datagrams))
	}
	src, total, closeSrc, err := openSource(env, *in, *seed, int64(size))
	if err != nil {
		return err
	}
	defer closeSrc()

	c, err := dialPatiently(ctx, operands[0], *wait)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()

	began = time.Now()
	p := startProgress(env.stderr, "sent", total)
	n, err := copyChunks(c, src, p)
	p.end()
	if err != nil {
		return fmt.Errorf("after %s: %w", humanBytes(n), err)
	}
	// Wait for the receiver's own end: its close tells that it has everything.
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	r.Bytes = n
	return finish(err)
}

// A sendReport is what --json prints: what was sent, in the time that it took.
type sendReport struct {
	Bytes     int64   `json:"bytes"`
	Datagrams int     `json:"datagrams,omitempty"` // of --udp; how many arrived their receiver knows
	Seconds   float64 `json:"seconds"`
}

// dialInterval is the pause between attempts to connect.
const dialInterval = 50 * time.Millisecond

// dialPatiently connects, and tries again for as long as patience lasts while
// the receiver refuses: it may not be there yet.
func dialPatiently(ctx context.Context, addr string, patience time.Duration) (net.Conn, error) {
	var d net.Dialer
	for until := time.Now().Add(patience); ; {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(until) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(dialInterval):
		}
	}
}

// openSource is the stream to send and its length in bytes, 0 if not known.
func openSource(env *environ, in string, seed uint64, size int64) (r io.Reader, total int64, done func(), err error) {
	done = func() {}
	limit := size
	switch {
	case in == "-":
		r = env.stdin
	case in != "":
		f, err := os.Open(in)
		if err != nil {
			return nil, 0, nil, err
		}
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			total = st.Size()
		}
		r, done = f, func() { f.Close() }
	default:
		if size == 0 {
			size = 1 << 30
		}
		if seed != 0 {
			return pattern.New(seed).Reader(size), size, done, nil
		}
		return &repeated{left: size}, size, done, nil
	}
	if limit > 0 {
		r, total = io.LimitReader(r, limit), limit
	}
	return r, total, done, nil
}

// repeated is left bytes of whatever the reader's buffer holds already: the
// sender of a benchmark touches no memory of its own.
type repeated struct{ left int64 }

func (r *repeated) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), r.left))
	r.left -= int64(n)
	return n, nil
}

// copyChunks copies src to w in large writes; io.Copy would take 32 KiB a time.
func copyChunks(w io.Writer, src io.Reader, p *progress) (total int64, err error) {
	b := make([]byte, sendChunk)
	for {
		n, rerr := io.ReadFull(src, b)
		k, err := w.Write(b[:n])
		total += int64(k)
		p.add(k)
		switch {
		case err != nil:
			return total, err
		case rerr == io.EOF || errors.Is(rerr, io.ErrUnexpectedEOF):
			return total, nil
		case rerr != nil:
			return total, rerr
		}
	}
}
