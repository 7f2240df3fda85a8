//go:build (amd64 || arm64) && !race && !invariants

package buf

import (
	"sync/atomic"
	"unsafe"
)

// ownedChecked reports whether storeOwned checks that its caller owns the word.
const ownedChecked = false

// storeOwned stores to in w, which holds from, for a caller who owns the word: it
// has just taken the buffer out of where free ones are, or it holds the buffer's
// only reference, or has dropped that by flipping the turn (turnGroup), and the buffer
// is not lent. Until the caller lets go of the buffer
// nobody else may store: to take one more reference one has to have one (Get), so
// has who drops one (Put), and a Return of an iov kept too long finds no user
// reference and fails. So no update can be lost, and a plain store does what an
// atomic one does, without its 5 to 6 ns (LOCK or XCHG, x86).
//
// Others may load w meanwhile (that Return, Remove). They see from or to, and never a
// mixture, for the store is of one aligned machine word; from the one they conclude the
// same as from the other, but for Remove, of which toUser takes care. Whoever gets the
// buffer from the caller sees to: the queue or ring that it goes through publishes
// with an atomic operation, which plain stores do not pass.
//
// The race detector can't know any of that. Its builds, and those with -tags
// invariants, which so check the above, take owned_checked.go.
func storeOwned(w *atomic.Uint64, _, to word) { *(*word)(unsafe.Pointer(w)) = to }
