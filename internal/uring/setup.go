//go:build linux

package uring

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// SetupFlags are the IORING_SETUP flags that a Ring supports. Each constant says which Linux brought it.
type SetupFlags uint32

const (
	SetupCQSize       SetupFlags = 1 << 3  // the size of the completion queue is given; Params.CQEntries sets it (5.5)
	SetupClamp        SetupFlags = 1 << 4  // reduce sizes above the kernel's limit instead of failing (5.6)
	SetupRDisabled    SetupFlags = 1 << 6  // start disabled; the task that calls Enable becomes the issuer (5.10)
	SetupSubmitAll    SetupFlags = 1 << 7  // a request that fails on submission does not stop the batch (5.18)
	SetupCoopTaskrun  SetupFlags = 1 << 8  // no interrupt to run completions: run them at the next system call (5.19)
	SetupTaskrunFlag  SetupFlags = 1 << 9  // with CoopTaskrun or DeferTaskrun: show waiting work to Submit (5.19)
	SetupCQE32        SetupFlags = 1 << 11 // every completion is 32 bytes (5.19)
	SetupSingleIssuer SetupFlags = 1 << 12 // only one task submits; others get EEXIST (6.0)
	SetupDeferTaskrun SetupFlags = 1 << 13 // completions run only in Enter; needs SingleIssuer (6.1)
	SetupNoSQArray    SetupFlags = 1 << 16 // no index array between submission queue and entries (6.6)
	SetupCQEMixed     SetupFlags = 1 << 18 // 16 and 32 byte completions side by side (6.18)
)

// setupFlagTable names the flags; since is for messages only, no decision is made from it. needs is what must go
// with a flag, so that a kernel can be asked about this one alone.
var setupFlagTable = []struct {
	flag, needs SetupFlags
	name, since string
}{
	{SetupCQSize, 0, "CQSIZE", "5.5"},
	{SetupClamp, 0, "CLAMP", "5.6"},
	{SetupRDisabled, 0, "R_DISABLED", "5.10"},
	{SetupSubmitAll, 0, "SUBMIT_ALL", "5.18"},
	{SetupCoopTaskrun, 0, "COOP_TASKRUN", "5.19"},
	{SetupTaskrunFlag, SetupCoopTaskrun, "TASKRUN_FLAG", "5.19"},
	{SetupCQE32, 0, "CQE32", "5.19"},
	{SetupSingleIssuer, 0, "SINGLE_ISSUER", "6.0"},
	{SetupDeferTaskrun, SetupSingleIssuer, "DEFER_TASKRUN", "6.1"},
	{SetupNoSQArray, 0, "NO_SQARRAY", "6.6"},
	{SetupCQEMixed, 0, "CQE_MIXED", "6.18"},
}

// String lists the flags by their kernel names without the prefix IORING_SETUP_.
func (f SetupFlags) String() string {
	var names []string
	for _, e := range setupFlagTable {
		if f&e.flag != 0 {
			names = append(names, e.name)
			f &^= e.flag
		}
	}
	if f != 0 || names == nil {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	return strings.Join(names, "|")
}

// Features are the IORING_FEAT bits by which the kernel says what a ring of its can do.
type Features uint32

const (
	FeatSingleMmap     Features = 1 << 0  // one mapping holds both queues
	FeatNoDrop         Features = 1 << 1  // completions that do not fit wait in the kernel
	FeatSubmitStable   Features = 1 << 2  // what an SQE points to, but for data, is read by the time Submit returns
	FeatExtArg         Features = 1 << 8  // io_uring_enter takes a timeout
	FeatRecvSendBundle Features = 1 << 14 // RecvBundle
)

// featTable names what a Ring is built on and cannot do without; since is for messages only.
var featTable = []struct {
	feat        Features
	name, since string
}{
	{FeatSingleMmap, "SINGLE_MMAP", "5.4"},
	{FeatNoDrop, "NODROP", "5.5"},
	{FeatSubmitStable, "SUBMIT_STABLE", "5.5"},
	{FeatExtArg, "EXT_ARG", "5.11"},
}

// Params say what ring to make. The zero value is a plain ring that any thread may use, one at a time.
type Params struct {
	Flags SetupFlags

	// CQEntries is the size of the completion queue; it implies SetupCQSize. The kernel rounds it up to a power of
	// two and refuses less than the submission queue has. 0 means twice the submission queue.
	CQEntries uint32
}

// Ring is one io_uring instance: a submission queue, a completion queue and the descriptor that stands for both.
// It is not safe for concurrent use; the package comment says which thread may call what. Only its Wakers are
// open to all goroutines.
type Ring struct {
	fd       int
	flags    SetupFlags
	features Features

	rings []byte // mapping of both queues' words, the SQ index array and the CQEs
	sqMem []byte // mapping of the SQEs
	args  []byte // anonymous mapping: the arguments of enter, then one argument slot for each SQE

	sq      *shring.Producer
	sqes    []SQE
	pending uint32  // pushed, not yet published
	dropped *uint32 // SQEs refused for a bad index; written by the kernel

	cq       *shring.Consumer
	cqes     []cqeSlot
	stride   uint32  // slots of a CQE: 2 with SetupCQE32, else 1
	taken    uint32  // CQEs that are the caller's yet; see Take
	overflow *uint32 // CQEs lost for want of memory; written by the kernel
	torn     uint64  // large CQEs of which only one slot was there

	enterArg  *enterArg
	enterFD   int    // fd, or its index in the task's table once RegisterRingFD was called
	enterFlag uint32 // enterRegisteredRing then
	ownerTID  int    // the thread that called RegisterRingFD

	bufRings []*BufRing
	ifqs     []*IFQ
	gate     *wakeGate
}

// New makes a ring with room for entries requests between two submissions (rounded up to a power of two by the kernel).
// The caller closes it. If the kernel cannot make such a ring the error says which feature it lacks, with the errno and,
// where nothing but another kernel or setting would help, ErrNotSupported in its chain; New never settles for less.
func New(entries uint32, p Params) (*Ring, error) {
	if err := checkParams(entries, p); err != nil {
		return nil, err
	}
	kp := setupParams{flags: uint32(p.Flags), cqEntries: p.CQEntries}
	if p.CQEntries != 0 {
		kp.flags |= uint32(SetupCQSize)
	}
	fd, errno := sysSetup(entries, &kp)
	if errno != 0 {
		return nil, explainSetup(entries, SetupFlags(kp.flags), errno)
	}
	r := &Ring{
		fd: fd, enterFD: fd,
		flags:    SetupFlags(kp.flags),
		features: Features(kp.features),
		gate:     &wakeGate{fd: fd},
	}
	for _, f := range featTable {
		if r.features&f.feat == 0 {
			r.Close()
			return nil, fmt.Errorf("uring: the kernel's io_uring lacks IORING_FEAT_%s (Linux %s): %w", f.name, f.since, ErrNotSupported)
		}
	}
	if err := r.mapRings(&kp); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// checkParams refuses what the kernel would refuse with a bare EINVAL, or would accept and this package could not drive.
func checkParams(entries uint32, p Params) error {
	var known SetupFlags
	for _, e := range setupFlagTable {
		known |= e.flag
	}
	f := p.Flags
	switch {
	case entries == 0:
		return errors.New("uring: a ring needs at least one entry")
	case f&^known != 0:
		return fmt.Errorf("uring: setup flags %v are not for this package", f&^known)
	case f&SetupCQSize != 0 && p.CQEntries == 0:
		return errors.New("uring: SetupCQSize without Params.CQEntries")
	case f&SetupDeferTaskrun != 0 && f&SetupSingleIssuer == 0:
		return errors.New("uring: SetupDeferTaskrun needs SetupSingleIssuer")
	case f&SetupTaskrunFlag != 0 && f&(SetupCoopTaskrun|SetupDeferTaskrun) == 0:
		return errors.New("uring: SetupTaskrunFlag needs SetupCoopTaskrun or SetupDeferTaskrun")
	case f&SetupCQE32 != 0 && f&SetupCQEMixed != 0:
		return errors.New("uring: SetupCQE32 and SetupCQEMixed exclude each other")
	}
	return nil
}

// FD returns the ring's descriptor. It stays the Ring's: do not close it, and do not use it after Close.
func (r *Ring) FD() int { return r.fd }

// Flags returns the setup flags that the ring was made with.
func (r *Ring) Flags() SetupFlags { return r.flags }

// Features returns what the kernel says the ring can do.
func (r *Ring) Features() Features { return r.features }

// SQEntries returns how many requests fit between two submissions.
func (r *Ring) SQEntries() int { return int(r.sq.Size()) }

// CQEntries returns how many completions fit before they back up in the kernel. With SetupCQEMixed it counts 16 byte
// slots, of which a large completion takes two.
func (r *Ring) CQEntries() int { return len(r.cqes) / int(r.stride) }

// Close releases the descriptor and every mapping, those of the ring's BufRings and IFQs included, and ends its Wakers. Nobody may
// be in another method of the ring then. It fails, and changes nothing, only if RegisterRingFD was called by another
// thread than this one. A second Close does nothing.
//
// The kernel cancels what was still in flight after Close has returned, and until then may write to the buffers of
// those requests. Who wants to use that memory again cancels first and reaps every final completion.
// Every other method of a closed ring fails with ErrClosed or finds nothing.
func (r *Ring) Close() error {
	if r.fd < 0 {
		return nil
	}
	if r.enterFlag != 0 {
		if err := r.UnregisterRingFD(); err != nil {
			return fmt.Errorf("uring: close: %w", err)
		}
	}
	r.gate.close()
	var err error
	for _, b := range r.bufRings {
		err = errors.Join(err, b.unmap())
	}
	for _, q := range r.ifqs {
		err = errors.Join(err, q.close())
	}
	err = errors.Join(err, unix.Close(r.fd))
	r.fd, r.enterFD = -1, -1
	for _, m := range [][]byte{r.rings, r.sqMem, r.args} {
		if m != nil {
			err = errors.Join(err, unix.Munmap(m))
		}
	}
	r.rings, r.sqMem, r.args = nil, nil, nil
	r.sqes, r.cqes, r.bufRings, r.ifqs = nil, nil, nil, nil
	if err != nil {
		return fmt.Errorf("uring: close: %w", err)
	}
	return nil
}
