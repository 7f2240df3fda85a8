package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/zctap/zctap"
)

// newFlags makes the flag set of a verb. Its errors are returned, not printed:
// parseFlags makes them one line.
func newFlags(verb string) *flag.FlagSet {
	fs := flag.NewFlagSet(verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parseFlags parses flags, which may stand before and after the operands, and
// returns the operands: exactly as many as names tells.
func parseFlags(env *environ, fs *flag.FlagSet, args []string, names ...string) ([]string, error) {
	var operands []string
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			help(env.stdout, fs, names)
			return nil, errHelp
		}
		if err != nil {
			return nil, usageError{err}
		}
		if fs.NArg() == 0 {
			break
		}
		operands = append(operands, fs.Arg(0))
		args = fs.Args()[1:]
	}
	switch {
	case len(operands) < len(names):
		return nil, usagef("%s is missing", names[len(operands)])
	case len(operands) > len(names):
		return nil, usagef("unexpected argument %q", operands[len(names)])
	}
	return operands, nil
}

// idle is the error of a flag that was given, of those named, and has no effect; why
// says so.
func idle(fs *flag.FlagSet, why string, names ...string) (err error) {
	fs.Visit(func(f *flag.Flag) {
		if err == nil && slices.Contains(names, f.Name) {
			err = usagef("--%s %s", f.Name, why)
		}
	})
	return err
}

func help(w io.Writer, fs *flag.FlagSet, names []string) {
	fmt.Fprintf(w, "Usage: zctap %s %s[FLAGS]\n\n", fs.Name(), strings.Join(append(names, ""), " "))
	fs.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		name := "--" + f.Name
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-24s %s\n", name, text)
	})
}

// A byteSize is a flag for a number of bytes: 4096, 64KiB, 1.5GiB, 10GB.
type byteSize int64

var units = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1},
}

// Set parses s.
func (b *byteSize) Set(s string) error {
	number, unit := s, 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) {
		return errors.New("not a size; use for example 4096, 64KiB or 4GiB")
	}
	if f *= unit; f < 1 || f > 1<<53 {
		return errors.New("a size is 1 byte to 8 PiB")
	}
	*b = byteSize(f)
	return nil
}

// String is the size in the largest binary unit that it is a whole number of.
func (b *byteSize) String() string {
	v := int64(*b)
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if v != 0 && v%u.size == 0 {
			return strconv.FormatInt(v/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(v, 10)
}

// A bufferSize is a flag for the size of the region's buffers; 0 stands for
// what suits the engine.
type bufferSize struct{ byteSize }

func bufferSizeFlag(fs *flag.FlagSet) *bufferSize {
	size := new(bufferSize)
	fs.Var(size, "buffer-size", "`BYTES` of a buffer of the region, a power of two from 4KiB (default 64KiB, 4KiB for engine zcrx)")
	return size
}

// on is the size for an engine, in bytes. By default it suits wires that carry
// super-segments of up to 64 KiB; a NIC's own buffers are pages.
func (b *bufferSize) on(engine string) int {
	switch {
	case b.byteSize != 0:
		return int(b.byteSize)
	case engine == zctap.ZCRX:
		return 0
	}
	return 64 << 10
}

// mtuFlag is the MTU of the veth pair that a command makes.
type mtuFlag int

func addMTUFlag(fs *flag.FlagSet) *mtuFlag {
	m := mtuFlag(1500)
	fs.Var(&m, "mtu", "`BYTES` of the longest IP packet of the veth pair, 576 to 65535")
	return &m
}

// Set takes an MTU.
func (m *mtuFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 576 || n > 65535 {
		return errors.New("an MTU is 576 to 65535 bytes")
	}
	*m = mtuFlag(n)
	return nil
}

// String is the MTU.
func (m *mtuFlag) String() string { return strconv.Itoa(int(*m)) }

// A choice is a flag with a few known values.
type choice struct {
	value string
	known []string
}

// Set takes s if it is one of the known values.
func (c *choice) Set(s string) error {
	for _, k := range c.known {
		if s == k {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("not one of %s", strings.Join(c.known, ", "))
}

// String is the value.
func (c *choice) String() string { return c.value }
