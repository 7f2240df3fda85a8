package stack

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// Sizes of a flowSort.
const (
	sortFrames   = 256 // of a batch, at most
	sortSlotBits = 8   // of so many flows are told apart, log2
	sortIdle     = 7   // batches that are left alone after one that there was nothing to gain from
)

// A flowSort puts those frames of a batch next to each other that are of one flow, so that
// merge finds them: of several senders' bursts that have met on their way, each frame is of
// another flow than the one before. (Linux's GRO has a list for each of a few flows instead.)
//
// The order within a flow stays; between flows it means nothing, for a network changes it, too.
// All that is no ordinary TCP segment counts as one flow.
//
// The look at a frame is little beside a segment that is taken in by itself, and it is not done
// where segments follow each other anyway.
type flowSort struct {
	idle   int    // batches to leave alone
	batch  uint32 // number of the last one that was divided
	mixed  bool   // that one was sorted
	slots  [1 << sortSlotBits]sortSlot
	group  [sortFrames]uint8  // of each frame
	at     [sortFrames]uint16 // of each group: how many frames it has, then where its next one goes
	frames []driver.Frame     // sorted
	frags  []buf.Frag         // theirs, in line: see Stack.inLine
}

// A sortSlot is the last flow with some hash. That another one has taken its place only means
// that its next frames are a group of their own.
type sortSlot struct {
	addrs uint64
	ports uint32
	batch uint32 // in which it came
	group uint8
}

// sort reports whether frames came mixed: then o.frames has them in an order in which those of a
// flow are next to each other, and o.frags their frags likewise, if frags has one for each.
// They are valid until the next call.
func (o *flowSort) sort(s *Stack, frames []driver.Frame, frags []buf.Frag) (mixed bool) {
	o.mixed = false
	if o.idle > 0 {
		o.idle--
		return false
	}
	if len(frames) < 2 || len(frames) > sortFrames {
		return false
	}
	groups, runs := o.divide(s, frames)
	if 2*runs < 3*groups { // merging two costs nearly as much as the second one alone
		o.idle = sortIdle
		return false
	}
	o.mixed = true
	if o.frames == nil {
		o.frames, o.frags = make([]driver.Frame, sortFrames), make([]buf.Frag, sortFrames)
	}
	next := uint16(0)
	for g := range o.at[:groups] {
		o.at[g], next = next, next+o.at[g]
	}
	for i := range frames {
		at := &o.at[o.group[i]]
		f := &o.frames[*at]
		*f = frames[i]
		if len(frags) > 0 && len(f.Frags) == 1 {
			o.frags[*at] = f.Frags[0]
			f.Frags = o.frags[*at : *at+1 : *at+1]
		}
		*at++
	}
	return true
}

// divide finds the group of each frame, numbered as they begin, and how many frames each has. runs
// is how many pieces frames are now, each of one group.
func (o *flowSort) divide(s *Stack, frames []driver.Frame) (groups, runs int) {
	if o.batch++; o.batch == 0 {
		clear(o.slots[:])
		o.batch = 1
	}
	others, last := -1, -1
	for i := range frames {
		g := others
		if addrs, ports, ok := s.flowOf(&frames[i]); ok {
			slot := &o.slots[sortHash(addrs, ports)]
			if slot.batch != o.batch || slot.addrs != addrs || slot.ports != ports {
				slot.addrs, slot.ports, slot.batch, slot.group = addrs, ports, o.batch, uint8(groups)
				o.at[groups] = 0
				groups++
			}
			g = int(slot.group)
		} else if g < 0 {
			others, g = groups, groups
			o.at[groups] = 0
			groups++
		}
		o.group[i] = uint8(g)
		o.at[g]++
		if g != last {
			runs++
			last = g
		}
	}
	return groups, runs
}

// flowOf is the flow that f is of, as far as frames of others need to be told from it: of IPv6 half
// of the peer's address. Not ok is what is not TCP, fragments, and what has IP options or extension headers.
func (s *Stack) flowOf(f *driver.Frame) (addrs uint64, ports uint32, ok bool) {
	const dontFragment = 0x40
	const headers4, headers6 = wire.IPv4HeaderLen + 2*2, wire.IPv6HeaderLen + 2*2
	b, link, need := s.first(f), s.caps.LinkHeader, headers4
	if len(b) > link && b[link]>>4 == 6 {
		need = headers6
	}
	if len(b) < min(f.Len, link+need) {
		b = s.rx.gather(f, s.pool)
	}
	if len(b) < link+headers4 {
		return 0, 0, false
	}
	b = b[link:]
	switch {
	case b[0] == 4<<4|wire.IPv4HeaderLen/4 && b[9] == wire.ProtoTCP && b[6]&^dontFragment|b[7] == 0:
		return binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint32(b[wire.IPv4HeaderLen:]), true
	case b[0]>>4 == 6 && len(b) >= headers6 && b[6] == wire.ProtoTCP:
		return binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint32(b[wire.IPv6HeaderLen:]), true
	}
	return 0, 0, false
}

// sortHash need not be secret: who finds flows with the same hash keeps them from being
// merged, which each of them could do by itself.
func sortHash(addrs uint64, ports uint32) uint64 {
	return (addrs ^ uint64(ports)*0xff51afd7ed558ccd) * 0x9e3779b97f4a7c15 >> (64 - sortSlotBits)
}

// merged tells that n of a batch's frames were merged: if most were, and without being sorted, the
// next batch is left alone.
func (o *flowSort) merged(n, frames int) {
	if !o.mixed && o.idle == 0 && n >= frames-frames/4 {
		o.idle = 1
	}
}
