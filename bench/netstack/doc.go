// Package netstack puts gVisor's network stack where the tests have ours: a host of
// internal simulations (test/sim), and a receiver to measure ours against. It is in
// a module of its own, so that the library does not depend on gVisor.
//
// gVisor's TCP works in goroutines of its own. A [Host] waits after each frame until
// they have nothing to do any more, so that a simulation's steps follow one another
// here, too; and its [Clock] runs the timers within Advance.
package netstack
