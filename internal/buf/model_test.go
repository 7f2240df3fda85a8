package buf

import (
	"errors"
	"fmt"
	"slices"
)

// A model is what a Pool should do, in the simplest words: plain counts, and
// slices for the four places of free buffers. It knows nothing of batches,
// atomics or rings. See TestModel.
type model struct {
	kernel, user, gen []int
	owner             []*int // held count of the account, or nil

	cache, recycle, fill, freelist []uint16

	episodes, drained, rejected int
	exhausted                   bool
}

func newModel(n int) *model {
	m := &model{kernel: make([]int, n), user: make([]int, n), gen: make([]int, n), owner: make([]*int, n)}
	for b := n - 1; b >= 0; b-- {
		m.freelist = append(m.freelist, uint16(b))
	}
	return m
}

// alloc takes up to n buffers, one at a time. What it is compared with takes a
// run of the cache at a time, so only the set of each run is the same.
func (m *model) alloc(n int) (out []uint16) {
	for len(out) < n {
		if len(m.cache) == 0 {
			move := func(from *[]uint16, k int) {
				k = min(k, len(*from))
				m.cache = append(m.cache, (*from)[:k]...)
				*from = slices.Delete(*from, 0, k)
			}
			switch {
			case len(m.recycle) > 0:
				move(&m.recycle, 64)
			case len(m.fill) > 0:
				m.drained += min(64, len(m.fill))
				move(&m.fill, 64)
			default:
				k := max(0, len(m.freelist)-128)
				m.cache = append(m.cache, m.freelist[k:]...)
				m.freelist = m.freelist[:k]
			}
		}
		if len(m.cache) == 0 {
			if !m.exhausted {
				m.episodes++
			}
			m.exhausted = true
			return out
		}
		m.exhausted = false
		b := m.cache[len(m.cache)-1]
		m.cache = m.cache[:len(m.cache)-1]
		m.kernel[b] = 1
		out = append(out, b)
	}
	return out
}

// freed does what is due when b's last reference is gone, if it is. by is how many
// generations that takes.
func (m *model) freed(b uint16, by int) bool {
	if m.kernel[b] > 0 || m.user[b] > 0 {
		return false
	}
	m.gen[b] += by
	if m.owner[b] != nil {
		*m.owner[b]--
		m.owner[b] = nil
	}
	return true
}

func (m *model) put(b uint16) {
	m.kernel[b]--
	switch {
	case !m.freed(b, 2):
	case len(m.recycle) < 1024:
		m.recycle = append(m.recycle, b)
	default:
		m.freelist = append(m.freelist, b)
	}
}

// ret returns one iov and says whether that is accepted.
func (m *model) ret(f Frag, region uint16) bool {
	b := f.buffer
	if f.region != region || int(b) >= len(m.user) || m.gen[b] != int(f.gen) || m.user[b] == 0 {
		m.rejected++
		return false
	}
	m.user[b]--
	if m.freed(b, 1) {
		m.fill = append(m.fill, b)
	}
	return true
}

func (m *model) free() int { return len(m.cache) + len(m.recycle) + len(m.fill) + len(m.freelist) }

// compare says where the pool differs from the model.
func (m *model) compare(p *Pool) error {
	var c Census
	c.Cache, c.Recycle, c.FillRing, c.Freelist = len(m.cache), len(m.recycle), len(m.fill), len(m.freelist)
	for b := range m.user {
		w := p.words[b].Load()
		if int(kernelRefs(w)) != m.kernel[b] || int(userRefs(w)) != m.user[b] || int(generation(w)) != m.gen[b] {
			return fmt.Errorf("buffer %d: word %#x, model has generation %d, %d user and %d kernel", b, w, m.gen[b], m.user[b], m.kernel[b])
		}
		if (w&charged != 0) != (m.owner[b] != nil) {
			return fmt.Errorf("buffer %d: charged %v, model %v", b, w&charged != 0, m.owner[b] != nil)
		}
		switch {
		case m.kernel[b] == 0 && m.user[b] > 0:
			c.User++
		case m.kernel[b] > 0 && m.owner[b] == nil:
			c.Driver++
		case m.kernel[b] > 0:
			c.Stack++
		}
	}
	if got, err := p.Census(); err != nil || got != c {
		return errors.Join(err, fmt.Errorf("census %+v, model %+v", got, c))
	}
	if p.Free() != m.free() || p.Rejected() != uint64(m.rejected) || p.Exhaustions() != uint64(m.episodes) {
		return fmt.Errorf("free %d, rejected %d, episodes %d; model %d, %d, %d",
			p.Free(), p.Rejected(), p.Exhaustions(), m.free(), m.rejected, m.episodes)
	}
	return nil
}
