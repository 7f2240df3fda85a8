package ip

import (
	"slices"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// What a Reassembler keeps, and for how long.

func (r *Reassembler) find(k *fragmentKey) *datagram {
	for _, d := range r.underway {
		if d.key == *k {
			return d
		}
	}
	return nil
}

// add begins a datagram; the oldest makes room for it, of its own source first.
func (r *Reassembler) add(now mono.Time, k *fragmentKey) *datagram {
	fromOne := 0
	for _, d := range r.underway {
		if d.key.src == k.src {
			fromOne++
		}
	}
	if fromOne >= maxFromOne {
		r.evict(r.oldest(k, nil))
	}
	if len(r.underway) >= maxDatagrams {
		r.evict(r.underway[0])
	}
	d := &datagram{key: *k, end: -1, deadline: now.Add(timeout4)}
	if k.version == 6 {
		d.deadline = now.Add(timeout6)
	}
	if r.next == 0 || d.deadline.Before(r.next) {
		r.next = d.deadline
	}
	r.underway = append(r.underway, d) // in the order of their beginnings
	return d
}

// oldest is the datagram that began first, of k's source if k is not nil, holds
// buffers if it is to make room for a part of not, and is not that one. nil: none.
func (r *Reassembler) oldest(k *fragmentKey, not *datagram) *datagram {
	for _, d := range r.underway {
		if d != not && (k == nil || d.key.src == k.src) && (not == nil || d.buffers > 0) {
			return d
		}
	}
	return nil
}

// room makes room for n more buffers of d, and reports whether it could.
func (r *Reassembler) room(d *datagram, n int) bool {
	own := n
	for _, o := range r.underway {
		if o.key.src == d.key.src {
			own += o.buffers
		}
	}
	for own > r.share {
		o := r.oldest(&d.key, d)
		if o == nil {
			return false
		}
		own -= o.buffers
		r.evict(o)
	}
	for r.held+n > r.total {
		o := r.oldest(nil, d)
		if o == nil {
			return false
		}
		r.evict(o)
	}
	return true
}

func (r *Reassembler) evict(d *datagram) {
	r.drop(d, FragmentEvicted)
	r.remove(d)
}

// refuse drops what there is of d, and has what is to come dropped, too.
func (r *Reassembler) refuse(d *datagram, c Refusal) {
	r.drop(d, c)
	d.refused, d.cause = true, c
}

// drop gives the buffers of d back.
func (r *Reassembler) drop(d *datagram, c Refusal) {
	for i := range d.pieces {
		r.pool.PutFrags(d.pieces[i].frags)
		r.Drops[c]++
	}
	r.held -= d.buffers
	d.pieces, d.buffers, d.quote = nil, 0, nil
}

func (r *Reassembler) remove(d *datagram) {
	i := slices.Index(r.underway, d)
	r.underway = slices.Delete(r.underway, i, i+1)
	if len(r.underway) == 0 {
		r.next = 0
	}
}

// Next is when Expire has something to do, or a little before; 0 if never.
func (r *Reassembler) Next() mono.Time { return r.next }

// Expire drops what took too long. expired, if it is not nil, is told of each whose
// first fragment was there: its header and how it began, for an ICMP error (RFC 1122
// section 3.3.2, RFC 8200 section 4.5).
func (r *Reassembler) Expire(now mono.Time, expired func(p *wire.Packet, orig []byte)) {
	if r.next == 0 || now.Before(r.next) {
		return
	}
	r.next = 0
	kept := r.underway[:0]
	for _, d := range r.underway {
		if now.Before(d.deadline) {
			kept = append(kept, d)
			if r.next == 0 || d.deadline.Before(r.next) {
				r.next = d.deadline
			}
			continue
		}
		if expired != nil && d.quote != nil {
			expired(&d.first, d.quote)
		}
		r.drop(d, FragmentExpired)
	}
	clear(r.underway[len(kept):])
	r.underway = kept
}

// Close drops everything.
func (r *Reassembler) Close() {
	for _, d := range r.underway {
		r.drop(d, FragmentEvicted)
	}
	r.underway, r.next = nil, 0
}

// Held is the number of buffers that wait for the rest of their datagrams.
func (r *Reassembler) Held() int { return r.held }
