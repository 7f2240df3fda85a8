package buf

// A buffer's word: [ charged or queued 1 | generation 31 | user references 16 | kernel references 16 ].
//
// The RFC keeps both counts in one atomic (patch 8, io_zctap_buf.refcount, with
// IO_ZCTAP_UREF = 0x10000 for a user reference) so that "is it free?" is one
// comparison. The generation beside them makes "is this return stale?" part of
// the same look, and whoever drops the last reference learns from it whether
// somebody is charged for the buffer. How the last one is dropped: turnGroup.
//
// A lent buffer is charged to nobody. Of that the bit says whether it is queued (lending).
type word = uint64

const (
	kernelOne word = 1
	userOne   word = 1 << 16
	genOne    word = 1 << 32
	charged   word = 1 << 63
	queued    word = charged

	kernelMask = userOne - 1
	userMask   = genOne - userOne
	refMask    = kernelMask | userMask
	genMask    = charged - genOne
)

func kernelRefs(w word) uint32 { return uint32(w & kernelMask) }
func userRefs(w word) uint32   { return uint32((w & userMask) >> 16) }
func generation(w word) uint32 { return uint32(w>>32) & (1<<31 - 1) }

// refs is both counts: 0 if nobody has a reference.
func refs(w word) uint32 { return uint32(w) }

// soleUser is the word of a buffer in generation gen to which there is one reference, a
// user's, but for whether somebody is charged.
func soleUser(gen uint32) word { return word(gen)<<32 | userOne }

// freed is the word of a buffer whose last reference, a user's, held in w, is dropped:
// no references, not charged, next generation.
func freed(w word) word { return (w + genOne) & genMask }

// freedPut is freed for a kernel reference: the generation after the next, whose turn is
// the same (turnGroup).
func freedPut(w word) word { return (w + 2*genOne) & genMask }

// freedLent is freed for a lent buffer, which is queued then.
func freedLent(w word) word { return freed(w) | queued }
