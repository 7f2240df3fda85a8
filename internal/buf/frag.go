package buf

// copiedBit marks, in Frag.off, payload that zctap had to copy into the region.
const copiedBit = 1 << 31

// A Frag names payload in a region: the RFC's 16-byte iov (patch 11,
// struct io_uring_zctap_iov {u32 off, len; u16 bgid, bid, resv[2]}) with the
// buffer's generation where the RFC reserves four bytes. It holds no pointer,
// so that queues of frags cost the garbage collector nothing.
//
// A Frag is a value; the reference it stands for is owned by whoever the doc
// comment of the function that passed it says.
type Frag struct {
	off      uint32 // bytes into the buffer; copiedBit
	len      uint32 // bytes
	bufferID        // of two: the compiler keeps structs of up to four fields in registers
	gen      uint32 // the buffer's generation when it was allocated; 31 bits
}

// bufferID names a buffer in the process.
type bufferID struct {
	region uint16 // Region.ID
	buffer uint16 // index in the region
}

// Offset is where the payload begins, in bytes from the buffer's start.
func (f Frag) Offset() int { return int(f.off &^ copiedBit) }

// Len is the payload's length in bytes.
func (f Frag) Len() int { return int(f.len) }

// Region is the id of the region that the buffer belongs to.
func (f Frag) Region() uint16 { return f.region }

// Buffer is the buffer's id: its index in the region.
func (f Frag) Buffer() uint16 { return f.buffer }

// Generation tells this use of the buffer from earlier and later ones.
func (f Frag) Generation() uint32 { return f.gen }

// turn is the turn of f's buffer while f's reference is out, see turnGroup.
func (f *Frag) turn() bool { return f.gen&1 != 0 }

// Copied reports whether zctap copied these bytes, rather than the driver
// having put them there.
func (f Frag) Copied() bool { return f.off&copiedBit != 0 }

// AsCopied returns f marked as copied payload.
func (f Frag) AsCopied() Frag {
	f.off |= copiedBit
	return f
}

// Mark is what marks an offset of payload that was copied: see Frag.Landed.
func Mark(copied bool) uint32 {
	if copied {
		return copiedBit
	}
	return 0
}

// Slice returns the part [from, to) of f, as bytes of the payload. Like a Go
// slice expression it panics when the bounds are not 0 <= from <= to <= Len:
// they come from our own arithmetic, never from the network.
func (f Frag) Slice(from, to int) Frag {
	if from < 0 || to < from || to > int(f.len) {
		panic("buf: Frag.Slice out of range")
	}
	f.off += uint32(from)
	f.len = uint32(to - from)
	return f
}

// TrimFront makes f what Slice(n, Len()) would return, in place: see AppendFrag.
func (f *Frag) TrimFront(n int) {
	if n < 0 || n > int(f.len) {
		panic("buf: Frag.TrimFront out of range")
	}
	f.off += uint32(n)
	f.len -= uint32(n)
}

// TrimFronts is TrimFront of each of frags.
func TrimFronts(frags []Frag, n int) {
	for i := range frags {
		frags[i].TrimFront(n)
	}
}

// SetTail makes f what of.Slice(n, of.Len()) returns, field by field: see AppendFrag.
func (f *Frag) SetTail(of *Frag, n int) {
	if n < 0 || n > int(of.len) {
		panic("buf: Frag.SetTail out of range")
	}
	f.off, f.len, f.bufferID, f.gen = of.off+uint32(n), of.len-uint32(n), of.bufferID, of.gen
}

// An Iov is a Frag in the application's hands: it holds one user reference,
// and a view of the bytes. The zero Iov names nothing.
type Iov struct {
	view []byte
	frag Frag
}

// Bytes is the view: it aliases the region, cap == len, and is valid until the
// Iov is returned.
func (v *Iov) Bytes() []byte { return v.view }

// Frag is the payload's name.
func (v *Iov) Frag() Frag { return v.frag }
