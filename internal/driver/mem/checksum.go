package mem

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// checksum computes what Send is asked to put at CsumStart+CsumOffset of f: the
// checksum over everything from CsumStart on, in which the field counts with
// the pseudo-header's sum that it holds. Zero, which UDP takes for none, becomes
// its equal 0xffff (RFC 768), as a device does that can't tell UDP from TCP.
func checksum(f *driver.TxFrame) uint16 {
	var s wire.Sum
	skip := f.CsumStart
	for _, p := range [...][]byte{f.Head, f.Payload[0], f.Payload[1]} {
		n := min(skip, len(p))
		skip -= n
		s.Add(p[n:])
	}
	if c := s.Checksum(); c != 0 {
		return c
	}
	return 0xffff
}
