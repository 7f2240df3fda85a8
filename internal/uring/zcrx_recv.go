//go:build linux

package uring

// RecvZC receives from the TCP socket fd into the areas of the interface queue with the given id (IFQ.ID). It is
// always a multishot request. size is its credit: after so many bytes it ends, 0 is no limit. Of flags RecvPollFirst is
// possible.
//
// Each completion with More is payload: IFQ.Data says where. The one without More ends the request:
//
//   - 0: the end of the stream, or the credit was used up. The two look alike: count.
//   - -ENOMEM: the kernel had to copy and found no free buffer. Return buffers, Flush, push it again.
//   - -ENOSPC: the completion queue was full. Reap, push it again: nothing is lost.
//   - -ECANCELED: Cancel.
//   - -EPROTONOSUPPORT: not a plain TCP socket (UDP, MPTCP, kernel TLS).
//   - -ENOTCONN, -ENOTSOCK, -EBADF, ECONNRESET and other errnos of the socket.
//   - -EFAULT: the payload lies in the buffers of another interface queue; it cannot be read at all.
//   - -EINVAL: no interface queue of that id, or wrong flags.
func RecvZC(fd int, ifq uint32, size uint32, flags RecvFlags, userData uint64) SQE {
	return SQE{
		Opcode: OpRecvZC, IOPrio: RecvMultishotFlag | uint16(flags),
		FD: int32(fd), Len: size, FileIndex: ifq, UserData: userData,
	}
}

// ZCData is payload that a completion of RecvZC brought.
type ZCData struct {
	// Token names the place as the kernel does: the area's id and the offset in it. Give it back like that by RQ.Room, once
	// for each completion, when the payload is not needed any more. Several completions may share a buffer; the kernel
	// counts them.
	Token uint64
	Len   int
}

// Area returns the id of the area that the payload lies in: 0 is that of the registration, others count AddArea.
func (d ZCData) Area() int { return int(d.Token >> zcrxAreaShift) }

// Offset returns where in its area the payload starts, in bytes.
func (d ZCData) Offset() int { return int(d.Token & (1<<zcrxAreaShift - 1)) }

// Data takes payload from a completion of RecvZC on q. It returns false if there is none in it, which is so for those
// without More, and also if what the kernel says can't be, because the place is outside of every area: Res is greater than
// 0 then.
func (q *IFQ) Data(c *CQE) (d ZCData, ok bool) {
	if !q.HasData(c) {
		return ZCData{}, false
	}
	return ZCData{Token: c.Extra[0], Len: int(c.Res)}, true
}

// HasData reports whether Data returns true of c. It is for those who look at many in a row; what Data would return is
// then Extra[0] and Res.
func (q *IFQ) HasData(c *CQE) bool {
	return c.Res > 0 && c.Flags&q.marks == q.marks && q.within(ZCData{Token: c.Extra[0], Len: int(c.Res)})
}

// Run is how many completions, from the first of cqes on, are of one request and bring payload
// to one area, until they are limit bytes or more; and how many bytes they bring. area is the
// area's id. What Data would return of them is Extra[0] and Res.
func (q *IFQ) Run(cqes []CQE, limit int) (n, bytes, area int) {
	if len(cqes) == 0 || !q.HasData(&cqes[0]) {
		return 0, 0, 0
	}
	request, marks := cqes[0].UserData, q.marks
	area = int(cqes[0].Extra[0] >> zcrxAreaShift)
	start, size := uint64(area)<<zcrxAreaShift, uint64(q.areas[area])
	for n < len(cqes) && bytes < limit {
		c := &cqes[n]
		res := uint64(c.Res)
		// A Res under 1 is far beyond size then; and so is a place in another area.
		if c.UserData != request || c.Flags&marks != marks || res-1 >= size || c.Extra[0]-start > size-res {
			break
		}
		bytes += int(res)
		n++
	}
	return n, bytes, area
}

// dataMarks are the flags that a completion of RecvZC with payload has.
func dataMarks(mixed bool) CQEFlags {
	if mixed {
		return CQEMore | CQE32
	}
	return CQEMore
}

// within reports whether d lies in an area.
func (q *IFQ) within(d ZCData) bool {
	a := d.Area()
	return a < len(q.areas) && d.Offset() <= q.areas[a]-d.Len
}
