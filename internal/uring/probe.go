//go:build linux

package uring

// probeOps is how many operations a probe asks about: all that an opcode byte can name.
const probeOps = 256

// probeArg is struct io_uring_probe with its operations.
type probeArg struct {
	lastOp uint8
	opsLen uint8
	resv   uint16
	resv2  [3]uint32
	ops    [probeOps]probeOp
}

// probeOp is struct io_uring_probe_op.
type probeOp struct {
	op    uint8
	resv  uint8
	flags uint16
	resv2 uint32
}

const probeOpSupported = 1 << 0 // IO_URING_OP_SUPPORTED

// Probe is the kernel's list of the operations it knows.
type Probe struct {
	ops [probeOps]bool
}

// Probe asks the kernel which operations it knows (Linux 5.6). It says nothing of their flags: see Have.
func (r *Ring) Probe() (*Probe, error) {
	if r.fd < 0 {
		return nil, ErrClosed
	}
	arg := new(probeArg)
	if errno := registerStruct(r.fd, registerProbe, arg, probeOps); errno != 0 {
		return nil, wrapRegister("PROBE", errno)
	}
	p := new(Probe)
	for _, op := range arg.ops[:arg.opsLen] {
		p.ops[op.op] = op.flags&probeOpSupported != 0
	}
	return p, nil
}

// Supports reports whether the kernel knows op.
func (p *Probe) Supports(op Op) bool { return p.ops[op] }
