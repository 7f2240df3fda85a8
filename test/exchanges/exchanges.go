// Package exchanges has what two Linux kernels said to each other, for tests that want real
// packets: handshakes with all their options, a transfer with losses, resets, datagrams whole
// and in fragments, ICMP errors, neighbour discovery, options of IPv4 and extension headers of
// IPv6. They were recorded by this package's TestNSRecord:
//
//	go test ./test/exchanges -run TestNSRecord -update
package exchanges

import (
	"embed"
	"encoding/binary"
	"fmt"
	"path"
)

//go:embed testdata/*.pcap
var files embed.FS

// Ours and Theirs are the two ends, as those of the tests' stacks are: of IPv4, of IPv6.
// The port of ours that is connected to is 80, that for datagrams 53; theirs is 999.
var (
	Ours   = [2]string{"192.0.2.1", "2001:db8::1"}
	Theirs = [2]string{"192.0.2.2", "2001:db8::2"}
)

// An Exchange is a recording: Ethernet frames in the order in which they were sent, those
// that were lost afterwards among them.
type Exchange struct {
	Name   string
	Frames [][]byte
}

const (
	fileHeader, recordHeader = 24, 16
	magic                    = 0xa1b2c3d4
	ethernet                 = 14
)

// All is every exchange there is.
func All() (all []Exchange, err error) {
	names, err := files.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		b, err := files.ReadFile(path.Join("testdata", n.Name()))
		if err != nil {
			return nil, err
		}
		frames, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Name(), err)
		}
		all = append(all, Exchange{n.Name(), frames})
	}
	return all, nil
}

// parse reads a pcap file (draft-ietf-opsawg-pcap) of little-endian numbers.
func parse(b []byte) (frames [][]byte, err error) {
	if len(b) < fileHeader || binary.LittleEndian.Uint32(b) != magic {
		return nil, fmt.Errorf("no pcap file")
	}
	for b = b[fileHeader:]; len(b) > 0; {
		if len(b) < recordHeader {
			return nil, fmt.Errorf("%d bytes instead of a record", len(b))
		}
		n := binary.LittleEndian.Uint32(b[8:])
		if b = b[recordHeader:]; uint32(len(b)) < n {
			return nil, fmt.Errorf("%d bytes of a frame of %d", len(b), n)
		}
		frames, b = append(frames, b[:n:n]), b[n:]
	}
	return frames, nil
}

// Packets are the IP packets of all exchanges, without their Ethernet headers.
func Packets() (all [][]byte, err error) {
	exchanges, err := All()
	for _, x := range exchanges {
		for _, f := range x.Frames {
			if p := Packet(f); p != nil {
				all = append(all, p)
			}
		}
	}
	return all, err
}

// Packet is the IP packet in an Ethernet frame, without padding behind it; nil: there is
// none.
func Packet(frame []byte) []byte {
	if len(frame) < ethernet+20 {
		return nil
	}
	p := frame[ethernet:]
	var n int
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		n = int(binary.BigEndian.Uint16(p[2:]))
	case 0x86dd:
		n = 40 + int(binary.BigEndian.Uint16(p[4:]))
	default:
		return nil
	}
	return p[:min(n, len(p))]
}
