//go:build linux

package uring

import (
	"time"

	"github.com/zctap/zctap/internal/shring"
)

// Instance is what an engine needs of an io_uring instance. *Ring is the kernel's; package uringtest plays one on the heap,
// which the race detector can watch. The methods are documented at Ring, and so is who may call them: one thread, but for
// what Waker returns.
type Instance interface {
	Push(SQE) error
	Pending() int
	Submit() (int, error)
	Enter(wait int, timeout time.Duration) (int, error)
	Reap([]CQE) int
	Take(room []CQE) []CQE
	Ready() int
	Overflowing() bool
	Stats() Stats

	Waker(userData uint64, res int32) *Waker

	RegisterZCRX(ZCRXConfig) (*IFQ, error)
	ImportZCRX(fd int, of *IFQ) (*IFQ, error)

	Enable() error
	RegisterRingFD() error
	Close() error
}

var _ Instance = (*Ring)(nil)

// NewWaker returns a Waker for an Instance that is not a Ring: it calls wake, which any goroutine may do at any time.
func NewWaker(wake func() error) *Waker { return &Waker{call: wake} }

// IFQParts is what an Instance that is not a Ring makes an IFQ of.
type IFQParts struct {
	Ops        IFQOps
	ID         uint32
	Areas      []int // sizes in bytes, by area id
	BufferSize int
	Mixed      bool // data completions are marked CQE32

	// The refill ring: as many entries as Words.Size says. Without entries the IFQ has no refill ring, like an import.
	Words  shring.Words
	Refill []RefillEntry

	// Copies and CopiedBytes are read by IFQ.Stats, atomically; nil if there are no statistics.
	Copies, CopiedBytes *uint64
}

// NewIFQ makes an IFQ for an Instance that is not a Ring.
func NewIFQ(p IFQParts) (*IFQ, error) {
	q := &IFQ{
		ops: p.Ops, id: p.ID, areas: p.Areas, bufSize: p.BufferSize, marks: dataMarks(p.Mixed),
		copies: p.Copies, copiedBytes: p.CopiedBytes,
	}
	if p.Refill == nil {
		return q, nil
	}
	prod, err := shring.NewProducer(p.Words)
	if err != nil {
		return nil, err
	}
	q.rq = &RQ{p: prod, entries: p.Refill}
	return q, nil
}
