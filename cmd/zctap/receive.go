//go:build linux

package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/pattern"
)

// A sink consumes views of the stream in order; they are its own until it
// returns.
type sink func(views [][]byte) error

// receiveZC receives c to its end by RecvZC, hands the views to s (nil: they
// are only counted) and releases them. It fills in what the stream itself
// tells; the caller adds what the queue counted.
func receiveZC(q *zctap.Queue, c *zctap.Conn, s sink, p *progress, r *report) error {
	iovs := make([]zctap.Iov, 64)
	views := make([][]byte, len(iovs))
	m := startMeter()
	for {
		n, err := c.RecvZC(iovs)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		bytes := 0
		for i := range iovs[:n] {
			views[i] = iovs[i].Bytes()
			bytes += len(views[i])
		}
		if s != nil {
			if err := s(views[:n]); err != nil {
				return err
			}
		}
		if _, err := q.Release(iovs[:n]); err != nil {
			return err
		}
		r.Bytes += int64(bytes)
		p.add(bytes)
	}
	r.took(m.stop())
	return nil
}

// receivePlain is receiveZC's comparison: net.Conn.Read into one buffer of a
// size at which reading costs the least.
func receivePlain(c net.Conn, s sink, p *progress, r *report) error {
	b := make([]byte, plainBuffer)
	m := startMeter()
	for {
		n, err := c.Read(b)
		if s != nil && n > 0 {
			if err := s([][]byte{b[:n]}); err != nil {
				return err
			}
		}
		r.Bytes += int64(n)
		r.CopiedBytes += uint64(n)
		r.RecvCalls++
		p.add(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	r.took(m.stop())
	return nil
}

// plainBuffer is net.Conn's read buffer. 64 KiB to 1 MiB measured alike over
// veth: 5.7 to 6.3 GB/s, medians of 5 rounds of 4 GiB, within each other's spread.
const plainBuffer = 128 << 10

// verifier is a sink that compares the stream with a pattern.
func verifier(pat *pattern.Pattern, mismatches *int64) sink {
	var off int64
	return func(views [][]byte) error {
		for _, v := range views {
			*mismatches += int64(pat.Mismatches(v, off))
			off += int64(len(v))
		}
		return nil
	}
}

// untouched is what --touch says of payload that is not read.
const untouched = "none"

// toucher is a sink that reads the stream once, as cheaply as an application can that
// does something with it: it takes the CRC-32C, for which processors have an instruction.
func toucher(crc *uint32) sink {
	table := crc32.MakeTable(crc32.Castagnoli)
	return func(views [][]byte) error {
		for _, v := range views {
			*crc = crc32.Update(*crc, table, v)
		}
		return nil
	}
}

// addQueue fills in what q counted, and closes it.
func (r *report) addQueue(q *zctap.Queue) error {
	s := q.Stats()
	r.Engine, r.Why = q.Engine(), append(r.Why, reasons(q.Why())...)
	mode, why := q.XDPMode()
	if r.XDPMode = mode; why != nil {
		r.XDPWhy = why.Error()
	}
	if r.CopyMode, why = q.CopyMode(); why != nil {
		r.CopyWhy = why.Error()
	}
	r.ZeroCopyBytes, r.CopiedBytes, r.RecvCalls = s.ZeroCopyBytes, s.CopiedBytes, s.RecvCalls
	r.Drops, r.Events = s.Drops, s.Events
	if r.Drops == nil {
		r.Drops = map[string]uint64{}
	}
	err := q.Close()
	r.Leaked = q.Leaked()
	return err
}

// check is the verdict on a receiver that was to receive want bytes (0: any
// number), verified if verify is set.
func (r *report) check(want int64, verify bool) error {
	r.Verified = verify && r.Mismatches == 0 && (want == 0 || r.Bytes == want)
	switch {
	case want != 0 && r.Bytes != want:
		return fmt.Errorf("%s received %d of %d bytes", r.Receiver, r.Bytes, want)
	case r.Mismatches != 0:
		return fmt.Errorf("%s received %d wrong bytes", r.Receiver, r.Mismatches)
	case r.Leaked != 0:
		return fmt.Errorf("%d buffers leaked", r.Leaked)
	}
	return nil
}
