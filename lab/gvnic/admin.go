//go:build linux

package gvnic

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/zctap/zctap/lab/vfiouser"
)

// commandSize is the length in bytes of an admin command: opcode, status, and
// 56 bytes that depend on the opcode (gve_adminq.h, union gve_adminq_command).
const (
	commandSize   = 64
	commandHeader = 8
)

// Opcodes (gve_adminq_opcodes).
const (
	opDescribe      = 0x1
	opConfigure     = 0x2
	opCreateTx      = 0x5
	opCreateRx      = 0x6
	opDestroyTx     = 0x7
	opDestroyRx     = 0x8
	opDeconfigure   = 0x9
	opConfigureRSS  = 0xa
	opSetParameter  = 0xb
	opReportStats   = 0xc
	opReportSpeed   = 0xd
	opPtypeMap      = 0xe
	opVerifyDriver  = 0xf
	opQueryFlows    = 0x10
	opQueryRSS      = 0x12
	opExtended      = 0xff
	opConfigureFlow = 0x101 // inside opExtended
)

// A status is the device's answer to a command (gve_adminq_statuses).
type status uint32

const (
	passed             status = 1
	alreadyExists      status = 0xfffffff1
	failedPrecondition status = 0xfffffff5
	invalidArgument    status = 0xfffffff7
	notFound           status = 0xfffffff8
	outOfRange         status = 0xfffffff9
	resourceExhausted  status = 0xfffffffc
	unimplemented      status = 0xfffffffe
)

// A refusal is why a command failed, and what the driver is told.
type refusal struct {
	status status
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(s status, format string, args ...any) error {
	return &refusal{s, fmt.Sprintf(format, args...)}
}

// statusOf is what the driver is told of err. Memory that is not there is the
// argument's fault.
func statusOf(err error) status {
	var r *refusal
	switch {
	case err == nil:
		return passed
	case errors.As(err, &r):
		return r.status
	}
	return invalidArgument
}

// An adminQueue is the ring of commands. The driver writes the first two
// fields through registers.
type adminQueue struct {
	base    uint64 // guest address
	length  uint16 // bytes
	counter uint32 // commands executed, free-running; the driver reads it
}

// entries is how many commands the ring has, 0 if it is not set up: a power of
// two, for the counters wrap at 2^32.
func (q *adminQueue) entries() uint32 {
	n := uint32(q.length) / commandSize
	if q.base%commandSize != 0 || q.length%commandSize != 0 || bits.OnesCount32(n) != 1 {
		return 0
	}
	return n
}

// adminDoorbell executes the commands up to the producer's count. One that
// makes no sense, or a ring that is not in memory, is ignored: the driver runs
// into its time limit.
func (d *Device) adminDoorbell(producer uint32) {
	n := d.admin.entries()
	if n == 0 || producer-d.admin.counter > n {
		d.stats.AdminFaults++
		d.warn(d.stats.AdminFaults, "admin queue: bad doorbell", "producer", producer, "executed", d.admin.counter, "entries", n)
		return
	}
	for d.admin.counter != producer {
		at := d.admin.base + uint64(d.admin.counter%n)*commandSize
		b, err := d.memory(at, commandSize)
		if err != nil {
			d.stats.AdminFaults++
			d.warn(d.stats.AdminFaults, "admin queue: ring out of reach", "err", err)
			return
		}
		c := [commandSize]byte(b) // the guest may change it any time
		op := be.Uint32(c[:])
		err = d.execute(op, c[commandHeader:])
		d.stats.AdminCommands++
		if err != nil {
			d.stats.AdminErrors++
			d.warn(d.stats.AdminErrors, "admin command failed", "opcode", op, "err", err)
		} else {
			d.config.Log.Debug("admin command", "opcode", op)
		}
		be.PutUint32(b[4:], uint32(statusOf(err)))
		d.admin.counter++
	}
}

// execute carries out one command, of which c are the 56 bytes behind the
// opcode and the status.
func (d *Device) execute(op uint32, c []byte) error {
	switch op {
	case opDescribe:
		return d.describe(c)
	case opConfigure:
		return d.configure(c)
	case opDeconfigure:
		return d.deconfigure()
	case opCreateTx:
		return d.createTx(c)
	case opCreateRx:
		return d.createRx(c)
	case opDestroyTx:
		return d.destroy(c, d.destroyTx)
	case opDestroyRx:
		return d.destroy(c, d.destroyRx)
	case opConfigureRSS:
		return d.configureRSS(c)
	case opQueryRSS:
		return d.queryRSS(c)
	case opSetParameter:
		return d.setParameter(c)
	case opReportStats:
		return d.reportStats(c)
	case opReportSpeed:
		return d.reportSpeed(c)
	case opPtypeMap:
		return d.ptypeMap(c)
	case opVerifyDriver:
		return d.verifyDriver(c)
	case opQueryFlows:
		return d.queryFlows(c)
	case opExtended:
		return d.extended(c)
	}
	return refuse(unimplemented, "unknown opcode %#x", op)
}

// extended carries out a command that is longer than 56 bytes, and lies
// elsewhere (struct gve_adminq_extended_command).
func (d *Device) extended(c []byte) error {
	op, n, addr := be.Uint32(c), be.Uint32(c[4:]), be.Uint64(c[8:])
	if op != opConfigureFlow {
		return refuse(unimplemented, "unknown extended opcode %#x", op)
	}
	if n != flowCommandSize {
		return refuse(invalidArgument, "flow rule command of %d bytes, not %d", n, flowCommandSize)
	}
	b, err := d.memory(addr, flowCommandSize)
	if err != nil {
		return err
	}
	inner := [flowCommandSize]byte(b)
	return d.configureFlow(inner[:])
}

// place is n bytes at addr for a command to answer in; the driver has made room
// for available bytes.
func (d *Device) place(addr, available uint64, n int) ([]byte, error) {
	if available < uint64(n) {
		return nil, refuse(invalidArgument, "room for %d bytes, %d needed", available, n)
	}
	return d.memory(addr, n)
}

// region checks that n bytes at addr are memory, at a multiple of align.
func (d *Device) region(what string, addr uint64, n, align int) error {
	if addr%uint64(align) != 0 {
		return refuse(invalidArgument, "%s at %#x: not a multiple of %d", what, addr, align)
	}
	if _, err := d.memory(addr, n); err != nil {
		if errors.Is(err, vfiouser.ErrAddress) {
			return refuse(invalidArgument, "%s: %v", what, err)
		}
		return err
	}
	return nil
}
