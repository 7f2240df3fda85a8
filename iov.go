package zctap

import "github.com/zctap/zctap/internal/buf"

// An Iov is a piece of received payload where it landed: (region, buffer,
// offset, length), the RFC's struct io_uring_zctap_iov, and a view of its bytes.
//
// An Iov that RecvZC or Wait filled belongs to the application, and keeps its
// buffer from being reused, until Release. Several Iovs may name parts of one
// buffer; each has to be released. Copies of an Iov are the same Iov: only one
// of them can be released. The zero Iov names nothing.
type Iov buf.Iov

func (v *Iov) inner() *buf.Iov { return (*buf.Iov)(v) }

// Bytes is the view: it aliases the region, not a copy, and is valid until the
// Iov is released. Its capacity is its length, so that append can't reach
// other payload. Writing to it is allowed and concerns nobody else.
func (v *Iov) Bytes() []byte { return v.inner().Bytes() }

// Len is the number of bytes.
func (v *Iov) Len() int { return len(v.inner().Bytes()) }

// Buffer is the id of the buffer: its index in the region.
func (v *Iov) Buffer() int { return int(v.inner().Frag().Buffer()) }

// Offset is where the payload begins in its buffer, in bytes.
func (v *Iov) Offset() int { return v.inner().Frag().Offset() }

// Region is the id of the region, unique in the process while its queue lives.
func (v *Iov) Region() int { return int(v.inner().Frag().Region()) }

// Copied reports whether zctap copied these bytes into the region, rather than
// the driver, the NIC or the kernel having put them there as they came.
func (v *Iov) Copied() bool { return v.inner().Frag().Copied() }
