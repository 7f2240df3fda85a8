package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/zctap/zctap/internal/wire"
)

// A cut is a fragment: the bytes of the IP payload from one offset to another.
type cut struct {
	from, to int // to -1: the last
}

func (c cut) String() string {
	if c.to < 0 {
		return fmt.Sprintf("%d:*", c.from)
	}
	return fmt.Sprintf("%d:%d", c.from, c.to)
}

// parseCut reads 0:1480,1480:2960,2960:*.
func (p *Packet) parseCut(s string) error {
	for _, item := range strings.Split(s, ",") {
		from, to, ok := strings.Cut(item, ":")
		if !ok {
			return fmt.Errorf("cut %q: fragments are first:end, as 0:1480,1480:*", item)
		}
		first, err := parseNumber(from)
		if err != nil {
			return err
		}
		end := int64(-1)
		if to != "*" {
			if end, err = parseNumber(to); err != nil {
				return err
			}
		}
		if first < 0 || first%8 != 0 || end >= 0 && (end <= first || end%8 != 0) || end < -1 || max(first, end) > 1<<16 {
			return fmt.Errorf("cut %q: offsets are multiples of 8, the first below the second", item)
		}
		p.Cut = append(p.Cut, cut{int(first), int(end)})
	}
	return nil
}

// buildFragment makes the fragment c of the IP packet b, which has no options and no
// extensions (RFC 791 section 3.2, RFC 8200 section 4.5).
func buildFragment(b []byte, id uint16, c cut) ([]byte, error) {
	header := wire.IPv4HeaderLen
	if b[0]>>4 == 6 {
		header = wire.IPv6HeaderLen
	}
	payload := b[header:]
	more := c.to >= 0
	if !more {
		c.to = len(payload)
	}
	if c.from >= c.to || c.to > len(payload) {
		return nil, errors.New("cut " + c.String() + ": the packet does not have these bytes")
	}
	payload = payload[c.from:c.to]
	f := append([]byte(nil), b[:header]...)
	field := uint16(c.from)
	if header == wire.IPv6HeaderLen {
		if more {
			field |= 1
		}
		f[6] = 44 // a fragment header
		binary.BigEndian.PutUint16(f[4:], uint16(8+len(payload)))
		f = append(f, b[6], 0)
		f = binary.BigEndian.AppendUint16(f, field)
		f = binary.BigEndian.AppendUint32(f, uint32(id))
		return append(f, payload...), nil
	}
	if field /= 8; more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(f[2:], uint16(header+len(payload)))
	binary.BigEndian.PutUint16(f[4:], id)
	binary.BigEndian.PutUint16(f[6:], field)
	f[10], f[11] = 0, 0
	var s wire.Sum
	s.Add(f)
	binary.BigEndian.PutUint16(f[10:], s.Checksum())
	return append(f, payload...), nil
}
