//go:build linux

package xdp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
)

// newPool makes a pool, of heap memory unless mapped is set, and checks at the
// test's end that every buffer is back.
func newPool(t testing.TB, buffers int, mapped bool) *buf.Pool {
	t.Helper()
	return buftest.Pool(t, buf.RegionConfig{Buffers: buffers, Heap: !mapped})
}

// noise is n bytes that tell their place, the same for equal seeds.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

// contents are the bytes of a received frame.
func contents(p *buf.Pool, f *driver.Frame) []byte {
	b := bytes.Clone(f.Head)
	for _, frag := range f.Frags {
		b = append(b, p.Region().View(frag)...)
	}
	return b
}

// put puts the batch's buffers back.
func put(d *Driver, b *driver.Batch) {
	for i := range b.Frames {
		d.pool.PutFrags(b.Frames[i].Frags)
	}
}

func statsOf(d *Driver) (s driver.Stats) { d.Stats(&s); return s }
