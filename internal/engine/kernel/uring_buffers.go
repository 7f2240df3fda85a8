//go:build linux

package kernel

import "github.com/zctap/zctap/internal/uring"

// provided is the free buffers that the kernel may fill: entries of the
// provided-buffer ring. An entry's id is not the buffer's: ids are few, and
// each is given a new buffer when its last was filled.
type provided struct {
	ring    *uring.BufRing
	buffers []uint16 // the region's buffer, by entry id; of the ids in use
	ids     []uint16 // entry ids not in use
	spare   []uint16 // buffers that came back unused
	segs    []uring.Segment
}

func (p *provided) init(l *loop) {
	n := p.ring.Entries()
	p.buffers = make([]uint16, n)
	p.ids = make([]uint16, n)
	for i := range p.ids {
		p.ids[i] = uint16(n - 1 - i)
	}
	p.spare = make([]uint16, 0, n)
	p.segs = make([]uring.Segment, 0, n)
}

// held is the number of buffers that wait to be filled.
func (p *provided) held() int { return p.ring.Posted() + len(p.spare) }

// refill gives the kernel a buffer for each free entry, as far as there are any.
func (p *provided) refill(l *loop) {
	if len(p.ids) == 0 {
		return
	}
	p.allocate(l)
	if p.held() == 0 {
		// What others have ready serves better here.
		l.exhausted()
		p.allocate(l)
	}
	for len(p.spare) > 0 {
		id, b := p.ids[len(p.ids)-1], p.spare[len(p.spare)-1]
		mem := l.pool.Region().Buffer(b)
		if p.ring.Add(uring.AddrOf(mem), uint32(len(mem)), id) != nil {
			break // not with an id that is free
		}
		p.ids, p.spare = p.ids[:len(p.ids)-1], p.spare[:len(p.spare)-1]
		p.buffers[id] = b
	}
	p.ring.Publish()
}

// allocate brings as many spare buffers as there are free entries, without
// asking for more than there are.
func (p *provided) allocate(l *loop) {
	have := len(p.spare)
	short := min(len(p.ids)-have, l.pool.Free())
	if short > 0 {
		n := l.pool.Alloc(p.spare[have : have+short])
		p.spare = p.spare[:have+n]
	}
}

// take frees the entry of a segment and is its buffer, the caller's now.
func (p *provided) take(id uint16) uint16 {
	p.ids = append(p.ids, id)
	return p.buffers[id]
}

// put gives all buffers back. The kernel uses none of them any more.
func (p *provided) put(l *loop) {
	used := make([]bool, len(p.buffers))
	for i := range used {
		used[i] = true
	}
	for _, id := range p.ids {
		used[id] = false
	}
	for id, b := range p.buffers {
		if used[id] {
			l.pool.Put(b)
		}
	}
	for _, b := range p.spare {
		l.pool.Put(b)
	}
	p.ids, p.spare = nil, nil
}
