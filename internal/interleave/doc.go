// Package interleave explores the ways in which a few goroutines can interleave: it is how
// the lock-free parts of zctap are tested, where a test by luck proves nothing.
//
// With -tags interleave the types of interleave/atomic and interleave/sync, which in all
// other builds are those of sync/atomic and sync, stop the goroutine before each operation.
// Explore runs a test's goroutines one at a time, switches between them at these points
// only, and does so in every order that there is, depth first, with few preemptions first.
// So did CHESS (Musuvathi et al., "Finding and Reproducing Heisenbugs in Concurrent
// Programs", OSDI 2008), which found that two preemptions are enough for most bugs, and so do
// Relacy for C++ and loom for Rust. An order is a list of choices; that of a failure is
// printed with its steps, and can be run again.
//
// # What is covered
//
// Go's atomic operations are sequentially consistent, and so are the steps of a schedule.
// All that a test's goroutines can do is covered, with as many preemptions as it says. A
// goroutine that is stopped for good is found (deadlock, a wake that was lost), and one that
// never ends.
//
// A store by internal/owned is none of Go's atomic operations. On amd64 it waits in the
// processor's store buffer while later loads of the same thread are done already; on arm64
// another thread may also see two of them in either order. Both make it visible before what
// comes with the thread's next atomic store, or read-modify-write. So here such a store is
// held back: who loads the word before the storing goroutine's next such operation finds
// the old value in one schedule and the new one in another.
//
// # What is not
//
// Plain loads and stores of other words are done at once, and not switched at. They are right
// if an atomic operation orders each pair of them, which the race detector finds out, and here
// only if it changes what happens. Loads that the processor does early, which the
// acquire of each atomic load forbids, are not modelled, nor are time, timers and deadlines.
package interleave
