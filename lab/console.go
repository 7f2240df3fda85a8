//go:build linux

package lab

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

const (
	maxLine     = 4 << 10 // of the console; what is longer is taken for several
	maxLogHead  = 1 << 20 // kept of the log's beginning
	maxLogTail  = 256 << 10
	maxQEMUText = 64 << 10
)

// A console takes what the guest's kernel logs: it passes it on line by line,
// keeps it, and looks for splats.
type console struct {
	mu   sync.Mutex
	out  io.Writer // may be nil
	part []byte    // a line without its end
	log  keeper
	scan splatScanner
	err  error // out's
}

func newConsole(out io.Writer, known []Known) *console {
	return &console{
		out: out, log: keeper{maxHead: maxLogHead, maxTail: maxLogTail},
		scan: splatScanner{known: slices.Concat(KnownSplats, known)},
	}
}

// Write takes a piece of the log. It does not fail, and calls out without the
// lock, so only one goroutine may call it.
func (c *console) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line = rest[:end+1]
		}
		line = line[:min(len(line), maxLine-len(c.part))]
		rest = rest[len(line):]
		c.part = append(c.part, line...)
		if c.part[len(c.part)-1] == '\n' || len(c.part) == maxLine {
			c.flush()
		}
	}
	return len(p), nil
}

// flush passes on the line that has been gathered.
func (c *console) flush() {
	if len(c.part) == 0 {
		return
	}
	line := append(bytes.TrimRight(c.part, "\r\n"), '\n')
	c.mu.Lock()
	c.log.add(line)
	c.scan.line(string(line[:len(line)-1]))
	c.mu.Unlock()
	if c.out != nil && c.err == nil {
		_, c.err = c.out.Write(line)
	}
	c.part = c.part[:0]
}

// text returns the log so far.
func (c *console) text() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.bytes()
}

// splats returns what the scanner has found so far.
func (c *console) splats() (all, unknown []Splat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scan.found()
}

// panicked returns what the kernel said when it panicked, or "".
func (c *console) panicked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scan.panic
}

// A keeper keeps the beginning and the end of a stream.
type keeper struct {
	maxHead, maxTail int
	head, tail       []byte
	lost             bool
}

func (k *keeper) add(p []byte) {
	if len(k.tail) == 0 {
		n := min(len(p), k.maxHead-len(k.head))
		k.head, p = append(k.head, p[:n]...), p[n:]
	}
	k.tail = append(k.tail, p...)
	if over := len(k.tail) - k.maxTail; over > k.maxTail { // moved only now and then
		k.tail = append(k.tail[:0], k.tail[over:]...)
		k.lost = true
	}
}

func (k *keeper) bytes() []byte {
	if k.lost {
		return slices.Concat(k.head, []byte("\n[...]\n"), k.tail)
	}
	return slices.Concat(k.head, k.tail)
}

// lockedKeeper is a keeper that is written by one goroutine and read by others.
type lockedKeeper struct {
	mu sync.Mutex
	k  keeper
}

func (l *lockedKeeper) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.k.add(p)
	return len(p), nil
}

func (l *lockedKeeper) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.k.bytes()
}
