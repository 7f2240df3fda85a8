//go:build linux

package uring

import "fmt"

// ImportZCRX makes the interface queue of, which another ring of this process exported as descriptor fd, available to
// this ring too, so that several rings and threads receive from one queue. The ring must be made like for
// RegisterZCRX, and CAP_NET_ADMIN is needed again. The descriptor stays the caller's and may be closed afterwards.
//
// The import has its own ID and no refill ring: what arrives through it goes back through of.Refill, which one goroutine at
// a time may use. Areas that are added to of later are not known to the import.
// Linux 6.19; Have(ZCRXExport) tells.
func (r *Ring) ImportZCRX(fd int, of *IFQ) (*IFQ, error) {
	if r.fd < 0 {
		return nil, ErrClosed
	}
	if err := r.checkZCRX(); err != nil {
		return nil, err
	}
	reg := zcrxIfqReg{ifIdx: uint32(fd), flags: zcrxRegImport}
	if errno := registerStruct(r.fd, registerZCRXIfq, &reg, 1); errno != 0 {
		return nil, explainImport(fd, errno)
	}
	q := &IFQ{
		ops: (*zcrxControl)(r), id: reg.zcrxID, token: of.token,
		areas: of.areas, bufSize: of.bufSize,
		marks: dataMarks(r.flags&SetupCQEMixed != 0),
	}
	r.ifqs = append(r.ifqs, q)
	return q, nil
}

// checkZCRX says what about the ring the kernel would only call invalid.
func (r *Ring) checkZCRX() error {
	if r.flags&SetupDeferTaskrun == 0 || r.flags&(SetupCQE32|SetupCQEMixed) == 0 {
		return fmt.Errorf("uring: a ring with %v cannot have interface queues: make it with SINGLE_ISSUER|DEFER_TASKRUN and CQE32 or CQE_MIXED", r.flags)
	}
	return nil
}
