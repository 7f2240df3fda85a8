//go:build !invariants

package buf

// Invariants reports whether the build checks what costs too much to check
// always: see debug_on.go.
const Invariants = false

// debugPool is empty: its methods are inlined to nothing. See debug_on.go.
type debugPool struct{}

func (*debugPool) init(*Pool)       {}
func (*debugPool) allocated(uint16) {}
func (*debugPool) freed(uint16)     {}
func (*debugPool) given(*Iov)       {}
func (*debugPool) dropping(*Iov)    {}
