// Package owned stores to words that others load, but nobody else stores to meanwhile.
//
// Go has no atomic store that is not a locked operation on x86 (LOCK or XCHG, 5 to 6 ns).
// Who owns a word needs none: no update can be lost, and as the store is of one aligned
// machine word, whoever loads it meanwhile finds the old or the new, and never a mixture.
// But such a store may be seen after what comes behind it: who has to see it in time is
// told by an atomic operation of the caller's, which plain stores do not pass.
//
// The race detector can't know any of that. Builds for it, those with -tags invariants and
// those for other processors compare and swap, and so check that nobody else did store.
package owned
