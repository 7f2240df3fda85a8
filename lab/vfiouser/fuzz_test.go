//go:build linux

package vfiouser_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// A script is the fuzzer's input, read byte by byte: what a hostile client does.
type script []byte

func (s *script) next() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

func (s *script) take(n int) []byte {
	n = min(n, len(*s))
	b := (*s)[:n]
	*s = (*s)[n:]
	return b
}

// Bits of a step's second byte.
const (
	stepNoReply = 1 << 0
	stepRaw     = 1 << 1 // the body is the script's, instead of one that is right
	stepPatch   = 1 << 2 // change some bytes of it
	stepFDs     = 1 << 3
	stepHeader  = 1 << 4 // change a byte of the header
	stepTail    = 1 << 5 // cut the message short, or send more
	stepCommand = 1 << 6 // any command, also those that are not there

	stepTruncate = 31 // as a command: shorten the file of the guest's memory
)

// bodies are what a client may say, by command.
var bodies = map[int][][]byte{
	vfiousertest.CmdVersion: {append([]byte{0, 0, 0, 0}, vfiousertest.QEMUCapabilities+"\x00"...), {0, 0, 0, 0}},
	vfiousertest.CmdDMAMap: {
		vfiousertest.MapBody(3, 0, ram, 1<<16), vfiousertest.MapBody(1, 1<<12, ram+1<<16, 1<<12),
		vfiousertest.MapBody(3, 0, ^uint64(0)-0xfff, 1<<12),
	},
	vfiousertest.CmdDMAUnmap:       {vfiousertest.UnmapBody(0, ram, 1<<16), vfiousertest.UnmapBody(2, 0, 0)},
	vfiousertest.CmdGetInfo:        {words(16, 0, 0, 0)},
	vfiousertest.CmdGetRegionInfo:  {words(32, 0, 7, 0, 0, 0, 0, 0)},
	vfiousertest.CmdGetRegionIOFDs: {words(16, 0, 2, 0)},
	vfiousertest.CmdGetIRQInfo:     {words(16, 0, 2, 0)},
	vfiousertest.CmdSetIRQs: {
		vfiousertest.IRQBody(evt|trigger, vfiousertest.MSIX, 0, 1), vfiousertest.IRQBody(none|trigger, vfiousertest.MSIX, 0, 0),
		vfiousertest.IRQBody(none|mask, vfiousertest.MSIX, 0, 4), vfiousertest.IRQBody(boolean|unmask, vfiousertest.MSIX, 1, 2, 1, 1),
		vfiousertest.IRQBody(none|trigger, vfiousertest.MSIX, 0, numVectors),
	},
	vfiousertest.CmdRegionRead: {words(0, 0, vfiousertest.Config, 64), words(pbaOff, 0, msixBAR, 8), words(regResult, 0, 0, 4)},
	vfiousertest.CmdRegionWrite: {
		words(0, 0, 0, regCommand+4, ram+4094, 0, 16, 7, doFill), words(0, 0, 0, regCommand+4, ram+1<<16, 0, 4096, 0, doSum),
		words(0, 0, 0, regCommand+4, ram+8, 0, 0, 7, doStore), words(0, 0, 0, regCommand+4, 0, 0, 0, 1, doInterrupt),
		words(4, 0, vfiousertest.Config, 4, 6), words(tableOff, 0, msixBAR, 16, 1, 2, 3, 4),
	},
	vfiousertest.CmdReset: {{}},
	vfiousertest.CmdRegionWriteMulti: {
		slices.Concat(words(2, 0), words(0x100, 0, 0, 8, 1, 2), words(regCommand, 0, 0, 4, doSum, 0)),
	},
}

// step makes the next message of a script.
func (s *script) step(files []int) (raw []byte, fds []int) {
	cmd, how := s.next()%32, s.next()
	if how&stepCommand != 0 {
		cmd = s.next() << 8
	}
	var body []byte
	if some := bodies[cmd]; how&stepRaw == 0 && len(some) > 0 {
		body = slices.Clone(some[s.next()%len(some)])
	} else {
		body = s.take(s.next())
	}
	if how&stepPatch != 0 && len(body) > 0 {
		for range 1 + s.next()%4 {
			body[s.next()%len(body)] = byte(s.next())
		}
	}
	if how&stepFDs != 0 {
		for range s.next() % 20 {
			fds = append(fds, files[s.next()%len(files)])
		}
	} else if cmd == vfiousertest.CmdDMAMap {
		fds = files[:1]
	} else if cmd == vfiousertest.CmdSetIRQs && len(body) >= 20 && body[4]&evt != 0 {
		fds = slices.Repeat(files[1:2], int(min(body[16], 17)))
	}
	raw = vfiousertest.Message(uint16(s.next()), uint16(cmd), uint32(how&stepNoReply)<<4, body)
	if how&stepHeader != 0 {
		raw[s.next()%16] = byte(s.next())
	}
	if how&stepTail != 0 {
		if n := s.next(); n < len(raw) {
			raw = raw[:max(n, 1)]
		} else {
			raw = append(raw, make([]byte, n)...)
		}
	}
	return raw, fds
}

// FuzzSession runs scripts against a live server. It must end, by the script's
// mistake or by its end, without a panic, and with nothing left open or mapped.
func FuzzSession(f *testing.F) {
	hello := []byte{vfiousertest.CmdVersion, 0, 0, 1}
	seed := func(steps ...[]byte) { f.Add(slices.Concat(append([][]byte{hello}, steps...)...)) }
	f.Add([]byte{vfiousertest.CmdReset, 0, 0, 1})
	seed()
	mapRAM := []byte{vfiousertest.CmdDMAMap, 0, 0, 1}
	vectors := []byte{vfiousertest.CmdSetIRQs, 0, 0, 2}
	for i := range 6 {
		seed(mapRAM, vectors, []byte{vfiousertest.CmdRegionWrite, 0, byte(i), 3})
	}
	seed(mapRAM, []byte{stepTruncate, 0, 0, 0}, []byte{vfiousertest.CmdRegionWrite, 0, 0, 3})
	seed(mapRAM, mapRAM, []byte{vfiousertest.CmdDMAUnmap, 0, 0, 1}, []byte{vfiousertest.CmdDMAUnmap, 0, 1, 1})
	for i := range 5 {
		seed(vectors, []byte{vfiousertest.CmdSetIRQs, 0, byte(i), 1}, []byte{vfiousertest.CmdRegionWrite, 0, 3, 1})
	}
	for cmd := range 20 {
		seed([]byte{byte(cmd), 0, 0, 1, byte(cmd), stepFDs, 0, 3, 0, 1, 2, 1})
		seed([]byte{byte(cmd), stepRaw, 5, 1, 2, 3, 4, 5, 9})
		seed([]byte{byte(cmd), stepHeader, 0, 1, 5, 200})
		seed([]byte{byte(cmd), stepTail, 0, 1, 17})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip("longer than is useful")
		}
		before, mappings := openFDs(t), guestMappings(t)
		runScript(t, data)
		if after := openFDs(t); !slices.Equal(before, after) {
			t.Errorf("open before: %q\nafter: %q", before, after)
		}
		if n := guestMappings(t); n != mappings {
			t.Errorf("%d mappings of guest memory are left", n-mappings)
		}
	})
}

// hostileFiles opens what a script may send: guest memory, eventfds, one of them
// full, and what is neither.
func hostileFiles(t *testing.T) []int {
	memory, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	files := []int{memory}
	for _, flags := range []int{0, unix.EFD_NONBLOCK} {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|flags)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fd)
	}
	full := slices.Repeat([]byte{0xff}, 8)
	full[0] = 0xfe // in both byte orders more than the counter's half
	if _, err := unix.Write(files[1], full); err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	dir, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(memory, 1<<16); err != nil {
		t.Fatal(err)
	}
	return append(files, pipe[0], pipe[1], dir)
}

func runScript(t *testing.T, data []byte) {
	files := hostileFiles(t)
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	client, server := vfiousertest.Pair(t)
	defer client.Close()
	ended := make(chan error, 1)
	go func() { ended <- vfiouser.Serve(context.Background(), server, newDevice()) }()
	drained := make(chan struct{})
	go func() { defer close(drained); io.Copy(io.Discard, client) }()

	c := vfiousertest.NewClient(client)
	s := script(data)
	for len(s) > 0 {
		if s[0]%32 == stepTruncate {
			s.next()
			if err := unix.Ftruncate(files[0], int64(s.next())<<9); err != nil {
				t.Fatal(err)
			}
			continue
		}
		raw, fds := s.step(files)
		if c.Send(raw, fds...) != nil {
			break // the server has hung up
		}
	}
	if err := client.CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, vfiouser.ErrProtocol) && !errors.Is(err, vfiouser.ErrFault) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end")
	}
	<-drained
}
