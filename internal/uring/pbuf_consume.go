//go:build linux

package uring

import "fmt"

// Segment is a part of a provided buffer that a completion filled.
type Segment struct {
	BID uint16
	Off uint32 // where in the buffer it starts; not 0 only in incremental groups
	Len uint32 // may be 0
	// Done says that the kernel is through with the buffer: when its data was used it may be added again. If false the
	// kernel goes on filling the buffer behind this segment.
	Done bool
}

// Consume finds out which buffers of the ring the completion c used, and appends a Segment for each to dst, in the order of
// the data. Every completion with CQEBuffer of a request on this group must pass through it once, in any order. It knows
// the three ways in which the kernel uses buffers:
//
//   - one buffer for one completion;
//   - a bundle (RecvBundle): c names the first buffer, and the data goes on in those added after it, each filled
//     before the next;
//   - incremental groups: a buffer lives through several completions, all but the last with CQEBufMore.
//
// A completion without CQEBuffer appends nothing. If c names a buffer that is not in the kernel's hands, or counts more
// bytes than the buffers from there on hold, Consume fails and changes nothing. The latter also happens if the
// request had MSG_TRUNC, which makes the kernel count bytes that it did not store.
func (b *BufRing) Consume(dst []Segment, c CQE) ([]Segment, error) {
	first, ok := c.BufferID()
	if !ok {
		return dst, nil
	}
	if b.ring == nil {
		return dst, ErrClosed
	}
	if err := b.checkUse(first, c.Res); err != nil {
		return dst, err
	}
	left := uint32(max(c.Res, 0))
	for bid := first; ; {
		s := &b.bufs[bid]
		n := min(left, s.size-s.off)
		left -= n
		// Without CQEBufMore even a buffer with room left is ours again; with it, the last one used is not.
		done := !b.inc || left > 0 || c.Flags&CQEBufMore == 0
		dst = append(dst, Segment{BID: bid, Off: s.off, Len: n, Done: done})
		if done {
			s.posted = false
			b.posted--
		} else {
			s.off += n
		}
		if left == 0 {
			return dst, nil
		}
		bid = uint16(s.next)
	}
}

// checkUse makes sure that res bytes fit in the posted buffers from first on.
func (b *BufRing) checkUse(first uint16, res int32) error {
	left := uint32(max(res, 0))
	for bid := int32(first); ; {
		if bid < 0 || int(bid) >= len(b.bufs) || !b.bufs[bid].posted {
			return fmt.Errorf("uring: completion of %d bytes from buffer %d on: buffer %d is not in the provided-buffer ring", res, first, bid)
		}
		s := &b.bufs[bid]
		if room := s.size - s.off; left > room {
			left -= room
			bid = s.next
			continue
		}
		return nil
	}
}
