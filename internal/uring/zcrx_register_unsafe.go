//go:build linux

package uring

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// zcrxScratch is what a registration hands to the kernel. It lies in mapped memory, because its parts point to each other and
// the kernel writes them back.
type zcrxScratch struct {
	reg    zcrxIfqReg
	area   zcrxAreaReg
	region regionDesc
	event  zcrxEventDesc
	ctrl   zcrxCtrl
}

// withScratch calls f with a zeroed structure that Go does not move.
func withScratch[T any](f func(*T) error) error {
	var s T
	mem, err := unix.Mmap(-1, 0, int(unsafe.Sizeof(s)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("uring: mmap: %w", err)
	}
	return errors.Join(f((*T)(unsafe.Pointer(&mem[0]))), unix.Munmap(mem))
}

func addrOf[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// RegisterZCRX takes possession of an interface queue, until the ring is closed. It needs a ring made with
// SetupSingleIssuer, SetupDeferTaskrun and either SetupCQE32 or SetupCQEMixed, CAP_NET_ADMIN in the first user namespace,
// and without CAP_IPC_LOCK enough RLIMIT_MEMLOCK. A ring may have several. On an enabled ring only its
// thread may call it.
//
// If it fails, nothing stays bound. The error has the kernel's errno in its chain and says what may be the cause; the
// kernel says no more than the errno. It matches ErrNotSupported where nothing but another kernel or device would help.
func (r *Ring) RegisterZCRX(cfg ZCRXConfig) (*IFQ, error) {
	if r.fd < 0 {
		return nil, ErrClosed
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("uring: register an interface queue: %w", err)
	}
	if err := r.checkZCRX(); err != nil {
		return nil, err
	}
	q, errno, err := r.registerIFQ(&cfg)
	if errno != 0 {
		return nil, explainZCRX(&cfg, errno)
	}
	return q, err
}

// registerIFQ registers without looking at the configuration first, and leaves the kernel's errno as it is.
func (r *Ring) registerIFQ(cfg *ZCRXConfig) (q *IFQ, errno unix.Errno, err error) {
	err = withScratch(func(s *zcrxScratch) error {
		size, header := RefillSize(cfg.RefillEntries), refillHeader()
		if cfg.RefillMemory != nil {
			size = len(cfg.RefillMemory)
			clear(cfg.RefillMemory) // older kernels go on from the indices they find
		}
		s.fill(cfg, size, header)
		if errno = registerStruct(r.fd, registerZCRXIfq, &s.reg, 1); errno != 0 {
			return nil
		}
		var err error
		q, err = r.newIFQ(cfg, s)
		return err
	})
	if err != nil || errno != 0 {
		return nil, errno, err
	}
	r.ifqs = append(r.ifqs, q)
	return q, 0, nil
}

// fill writes the registration.
func (s *zcrxScratch) fill(cfg *ZCRXConfig, size, header int) {
	s.region.size = uint64(size)
	if cfg.RefillMemory != nil {
		s.region.flags, s.region.userAddr = regionTypeUser, uint64(AddrOf(cfg.RefillMemory))
	}
	s.area.fill(&cfg.Area)
	s.reg = zcrxIfqReg{
		ifIdx: uint32(cfg.Interface), ifRxq: uint32(cfg.Queue),
		rqEntries: cfg.RefillEntries,
		areaPtr:   addrOf(&s.area), regionPtr: addrOf(&s.region),
	}
	if cfg.NoDevice {
		s.reg.flags |= zcrxRegNodev
	}
	if cfg.BufferSize != os.Getpagesize() { // kernels that offer no choice insist on 0
		s.reg.rxBufLen = uint32(cfg.BufferSize)
	}
	if cfg.Events == 0 && !cfg.Stats {
		return
	}
	s.event = zcrxEventDesc{userData: cfg.EventUserData, typeMask: uint32(cfg.Events)}
	if cfg.Stats {
		s.event.flags, s.event.statsOffset = zcrxEventDescStats, uint64(refillStatsOffset(header, cfg.RefillEntries))
	}
	s.reg.eventDesc = addrOf(&s.event)
}

func (a *zcrxAreaReg) fill(area *Area) {
	*a = zcrxAreaReg{addr: uint64(AddrOf(area.Memory)), size: uint64(area.Len())}
	if area.Memory == nil {
		a.flags, a.dmabufFD = zcrxAreaDMABuf, uint32(area.DMABuf)
	}
}

// newIFQ sets up what the kernel registered. The offsets come from the kernel and differ between versions; they are checked,
// because a wrong one would be silent memory corruption. An error here leaves the queue registered, until the ring is
// closed: there is no way back.
func (r *Ring) newIFQ(cfg *ZCRXConfig, s *zcrxScratch) (*IFQ, error) {
	q := &IFQ{
		ops: (*zcrxControl)(r), id: s.reg.zcrxID, token: s.area.token,
		areas: []int{cfg.Area.Len()}, bufSize: cfg.BufferSize,
		marks: dataMarks(r.flags&SetupCQEMixed != 0),
	}
	if q.bufSize == 0 {
		q.bufSize = os.Getpagesize()
	}
	if got := s.reg.rxBufLen; got != 0 && int(got) != q.bufSize {
		return nil, fmt.Errorf("uring: the kernel makes buffers of %d bytes, asked for %d", got, q.bufSize)
	}
	if q.token>>zcrxAreaShift != 0 {
		return nil, fmt.Errorf("uring: the kernel numbers the first area %d", q.token>>zcrxAreaShift)
	}
	mem := cfg.RefillMemory
	if mem == nil {
		var err error
		mem, err = unix.Mmap(r.fd, int64(s.region.mmapOffset), int(s.region.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return nil, fmt.Errorf("uring: mmap of the refill ring: %w", err)
		}
	}
	rq, err := attachRQ(mem, s.reg.offsets, s.reg.rqEntries)
	if err == nil && cfg.Stats {
		q.copies, q.copiedBytes, err = attachStats(mem, s.event.statsOffset)
	}
	if err != nil {
		if cfg.RefillMemory == nil {
			err = errors.Join(err, unix.Munmap(mem))
		}
		return nil, err
	}
	if cfg.RefillMemory == nil {
		rq.mapped = mem
	}
	q.rq = rq
	return q, nil
}

// attachRQ lays a refill ring over its region.
func attachRQ(mem []byte, off zcrxOffsets, entries uint32) (*RQ, error) {
	n := uint64(len(mem))
	bad := func(at uint32, size, align uint64) bool { return uint64(at)%align != 0 || uint64(at)+size > n }
	if bits.OnesCount32(entries) != 1 || off.head == off.tail || bad(off.head, 4, 4) || bad(off.tail, 4, 4) ||
		bad(off.rqes, uint64(entries)*refillEntrySize, 8) {
		return nil, fmt.Errorf("uring: the kernel places a refill ring of %d entries at %d, its words at %d and %d, in a region of %d bytes",
			entries, off.rqes, off.head, off.tail, n)
	}
	p, err := shring.NewProducer(shring.Words{
		Producer: (*uint32)(unsafe.Pointer(&mem[off.tail])),
		Consumer: (*uint32)(unsafe.Pointer(&mem[off.head])),
		Size:     entries,
	})
	if err != nil {
		return nil, err
	}
	return &RQ{p: p, entries: unsafe.Slice((*RefillEntry)(unsafe.Pointer(&mem[off.rqes])), entries)}, nil
}

// attachStats finds the statistics in the refill ring's region.
func attachStats(mem []byte, off uint64) (copies, copiedBytes *uint64, err error) {
	if off%8 != 0 || off > uint64(len(mem)) || uint64(len(mem))-off < zcrxStatsSize {
		return nil, nil, fmt.Errorf("uring: statistics at %d of a region of %d bytes", off, len(mem))
	}
	s := (*zcrxStats)(unsafe.Pointer(&mem[off]))
	return &s.copyCount, &s.copyBytes, nil
}

// query asks the kernel one question. It needs no ring. Kernels may answer less than T holds, then the rest is 0, but not
// nothing.
func query[T any](op uint32, answer *T) error {
	return withScratch(func(s *queryScratch[T]) error {
		s.hdr = queryHdr{data: addrOf(&s.answer), op: op, size: uint32(unsafe.Sizeof(s.answer))}
		errno := registerStruct(-1, registerQuery, &s.hdr, 0)
		if err := judgeQuery(errno, s.hdr.result); err != nil {
			return err
		}
		if s.hdr.size == 0 {
			return errNoAnswer
		}
		*answer = s.answer
		return nil
	})
}

type queryScratch[T any] struct {
	hdr    queryHdr
	answer T
}

// registerNowhere calls io_uring_register(2) with an argument that is not mapped.
func (r *Ring) registerNowhere(op, n uint32) (errno unix.Errno) {
	if err := withScratch(func(s *zcrxScratch) error {
		if err := unix.Mprotect(unsafe.Slice((*byte)(unsafe.Pointer(s)), os.Getpagesize()), unix.PROT_NONE); err != nil {
			return err
		}
		_, errno = sysRegister(r.fd, op, unsafe.Pointer(s), n)
		return nil
	}); err != nil {
		return unix.ENOMEM
	}
	return errno
}
