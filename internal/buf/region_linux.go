package buf

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hugePage is the size of the huge pages that are tried for regions at least
// that large: amd64's and arm64's usual second level.
const hugePage = 2 << 20

// mapMemory maps size bytes, zeroed, of huge pages if huge is set and the
// system has reserved some, else of ordinary ones.
func mapMemory(size int, huge bool) ([]byte, Kind, error) {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	m, kind, err := []byte(nil), Huge, error(nil)
	if huge && size%hugePage == 0 {
		// Populated at once: a huge page that is missing later would be SIGBUS.
		m, err = unix.Mmap(-1, 0, size, prot, flags|unix.MAP_HUGETLB|unix.MAP_POPULATE)
	}
	if m == nil || err != nil {
		kind = Mapped
		if m, err = unix.Mmap(-1, 0, size, prot, flags); err != nil {
			return nil, kind, err
		}
	}
	if huge && kind == Mapped {
		// Huge pages all the same where they can be made at the first touch: a
		// copy into the region misses the TLB less. It is advice only: a kernel
		// without them says EINVAL, and the region works.
		_ = unix.Madvise(m, unix.MADV_HUGEPAGE)
	}
	// Not handed on to children: between fork and exec a write, ours or a
	// driver's, would move the page away from where the driver has it pinned.
	if err := unix.Madvise(m, unix.MADV_DONTFORK); err != nil {
		return nil, kind, errors.Join(fmt.Errorf("madvise: %w", err), unix.Munmap(m))
	}
	return m, kind, nil
}

func unmapMemory(m []byte) error { return unix.Munmap(m) }

// probeWritable asks the kernel to read and write one byte of each page, which
// fails with EFAULT where touching it from Go would kill the process. The byte
// goes through a pipe and comes back unchanged.
func probeWritable(m []byte, page int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	const batch = 256 // bytes in flight, well under any pipe's capacity
	var iov [][]byte
	for off := 0; off < len(m); off += page {
		iov = append(iov, m[off:off+1])
		if len(iov) < batch && off+page < len(m) {
			continue
		}
		if n, err := unix.Writev(int(w.Fd()), iov); err != nil || n != len(iov) {
			return orFault(err)
		}
		if n, err := unix.Readv(int(r.Fd()), iov); err != nil || n != len(iov) {
			return orFault(err)
		}
		iov = iov[:0]
	}
	return nil
}

// orFault is err, or EFAULT for a transfer that stopped in the middle: the
// kernel reports bytes moved before the bad page rather than the fault.
func orFault(err error) error {
	if err != nil {
		return err
	}
	return unix.EFAULT
}
