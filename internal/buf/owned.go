package buf

import (
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/owned"
)

// storeOwned stores to in w, which holds from, for a caller who owns the word: it
// has just taken the buffer out of where free ones are, or it holds the buffer's
// only reference, or has dropped that by flipping the turn (turnGroup), and the buffer
// is not lent. A lent one that nobody holds is the engine's, if that has one thread
// (OneThread): only that lands payload there, and unmarks it as queued. Until the caller
// lets go of the buffer nobody else may store: to take one more reference one has to
// have one (Get), so has who drops one (Put), and a Return of an iov kept too long finds
// no user reference and fails.
//
// Others may load w meanwhile (that Return, Remove). From the old word they conclude the
// same as from the new, but for Remove, of which HandOverAll takes care. Whoever gets the
// buffer from the caller sees the new one: the queue or ring that it goes through publishes
// with an atomic operation.
func storeOwned(w *atomic.Uint64, from, to word) { owned.Store(w, from, to) }
