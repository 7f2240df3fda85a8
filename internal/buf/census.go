package buf

import "fmt"

// A Census says where each buffer of a pool is: in exactly one of these places
// (invariant 1).
type Census struct {
	Cache, Recycle, Freelist, FillRing int // free
	Driver                             int // kernel reference, charged to nobody
	Stack                              int // kernel reference, charged to a connection
	User                               int // user references only
	Lent                               int // lent, and held by nobody: with the device, or on the way back
}

// Total is the number of buffers counted.
func (c Census) Total() int {
	return c.Cache + c.Recycle + c.Freelist + c.FillRing + c.Driver + c.Stack + c.User + c.Lent
}

// Out is the number of buffers that are not free.
func (c Census) Out() int { return c.Driver + c.Stack + c.User }

// Census counts the buffers and checks that each is in one place only. It is
// exact only while no goroutine uses the pool: for tests, and for reports when
// an engine has stopped.
func (p *Pool) Census() (c Census, err error) {
	seen := make([]string, len(p.words))
	mark := func(place string, count *int) func(uint16) {
		return func(b uint16) {
			if p.isLent(b) {
				return // it may be here and held, or not be here
			}
			*count++
			w := p.words[b].Load()
			switch {
			case seen[b] != "":
				err = fmt.Errorf("buf: buffer %d is in %s and in %s", b, seen[b], place)
			case w&refMask != 0:
				err = fmt.Errorf("buf: buffer %d is in %s with references %#x", b, place, w&refMask)
			case w&charged != 0:
				err = fmt.Errorf("buf: buffer %d is in %s and charged", b, place)
			}
			seen[b] = place
		}
	}
	in := mark("the cache", &c.Cache)
	for _, b := range p.cache {
		in(b)
	}
	p.recycle.each(mark("the recycle ring", &c.Recycle))
	p.fill.each(mark("the fill ring", &c.FillRing))
	in = mark("the freelist", &c.Freelist)
	for _, b := range p.free.ids {
		in(b)
	}
	for b := range p.words {
		switch w := p.words[b].Load(); {
		case p.isLent(uint16(b)) && w&refMask == 0:
			c.Lent++
		case w&refMask == 0:
			if seen[b] == "" && err == nil {
				err = fmt.Errorf("buf: buffer %d is free and in no list", b)
			}
		case kernelRefs(w) == 0:
			c.User++
		case w&charged == 0 && !p.isLent(uint16(b)):
			c.Driver++
		default:
			c.Stack++
		}
	}
	if err == nil && c.Total() != len(p.words) {
		err = fmt.Errorf("buf: census of %d buffers counts %d: %+v", len(p.words), c.Total(), c)
	}
	return c, err
}
