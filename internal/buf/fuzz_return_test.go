//go:build !invariants

package buf

import (
	"encoding/binary"
	"testing"
)

// FuzzReturn hands iovs made of arbitrary bytes to a pool: no panic, and no
// count changes but for those that name, by chance, an iov that is out. (With
// -tags invariants a stale return panics, on purpose.)
func FuzzReturn(f *testing.F) {
	const entry = 16 // bytes: off, len, region, buffer, gen
	seed := func(entries ...Frag) {
		var b []byte
		for _, e := range entries {
			b = binary.LittleEndian.AppendUint32(b, e.off)
			b = binary.LittleEndian.AppendUint32(b, e.len)
			b = binary.LittleEndian.AppendUint16(b, e.region)
			b = binary.LittleEndian.AppendUint16(b, e.buffer)
			b = binary.LittleEndian.AppendUint32(b, e.gen)
		}
		f.Add(b)
	}
	// Region 1 stands for the pool's own, whatever its id is.
	seed()
	seed(Frag{})
	seed(Frag{bufferID: bufferID{1, 8}}, Frag{bufferID: bufferID{1, 0xffff}}, Frag{bufferID: bufferID{region: 2}})
	seed(Frag{bufferID: bufferID{1, 0}}, Frag{bufferID: bufferID{1, 1}}, Frag{bufferID: bufferID{1, 2}}, Frag{bufferID: bufferID{1, 2}})
	seed(Frag{bufferID: bufferID{1, 3}, gen: 1}, Frag{bufferID: bufferID{1, 3}, gen: 1}, Frag{bufferID: bufferID{1, 3}, gen: 0})
	seed(Frag{off: 0xffffffff, len: 0xffffffff, bufferID: bufferID{0xffff, 0xffff}, gen: 0xffffffff})

	f.Fuzz(func(t *testing.T, data []byte) {
		const n = 8
		p := newPool(t, n)
		// Buffer 3 in its second life, 0 to 3 with the stack, 1 to 4 with the
		// application (2 twice), the rest free.
		alloc(t, p, n)
		for b := uint16(5); b < n; b++ {
			p.Put(b)
		}
		p.Put(3)
		alloc(t, p, 4)
		for b := uint16(5); b < n; b++ {
			p.Put(b)
		}
		var out []Iov
		for b := uint16(1); b < 4; b++ {
			out = append(out, giveUser(t, p, b, 0, 10))
		}
		out = append(out, giveUser(t, p, 2, 5, 10), handOver(t, p, 4, 0, 10))
		ids := []uint16{0, 1, 2, 3}

		var iovs []Iov
		for ; len(data) >= entry; data = data[entry:] {
			v := Iov{frag: Frag{
				off: binary.LittleEndian.Uint32(data), len: binary.LittleEndian.Uint32(data[4:]),
				bufferID: bufferID{binary.LittleEndian.Uint16(data[8:]), binary.LittleEndian.Uint16(data[10:])},
				gen:      binary.LittleEndian.Uint32(data[12:]),
			}}
			if v.frag.region == 1 {
				v.frag.region = p.Region().ID()
			} else if v.frag.region == p.Region().ID() {
				v.frag.region = 1
			}
			iovs = append(iovs, v)
		}
		// What each may do, told from the counts alone.
		var user, kernel [n]uint32
		for b := range user {
			w := p.words[b].Load()
			user[b], kernel[b] = userRefs(w), kernelRefs(w)
		}
		left, want := user, 0
		for _, v := range iovs {
			if f := v.frag; f.region == p.Region().ID() && int(f.buffer) < n && left[f.buffer] > 0 &&
				f.gen == generation(p.words[f.buffer].Load()) {
				left[f.buffer]--
				want++
			}
		}
		got, err := p.Return(iovs)
		if got != want || (err == nil) != (want == len(iovs)) {
			t.Fatalf("%d accepted, %v; want %d of %d", got, err, want, len(iovs))
		}
		for b := range user {
			if w := p.words[b].Load(); userRefs(w) != left[b] || kernelRefs(w) != kernel[b] {
				t.Fatalf("buffer %d: word %#x, want %d user and %d kernel references", b, w, left[b], kernel[b])
			}
		}
		census(t, p)
		_, _ = p.Return(out)
		for _, b := range ids {
			p.Put(b)
		}
		if c := census(t, p); c.Out() != 0 {
			t.Fatalf("%+v", c)
		}
	})
}
