// Package sim runs whole connections between two stacks in simulated time: no
// clock, no goroutine, one source of randomness. A [Scenario] is drawn from a seed
// and says everything: how bad the wire is, how many buffers each end has, what
// the applications do. Its run is the same every time, so that a seed is all that
// a failure needs to be seen again.
//
// Two hosts, each a stack with a driver of its own, are joined by a path:
//
//	Host A — mem wire — Path — mem wire — Host B
//
// The path loses, repeats, corrupts, delays and reorders frames in both directions
// (internal/driver/impair), has a rate, and a pool of its own, so that what is on
// its way costs neither host a buffer. What it carries may become less on the way,
// with a router that says so or as a black hole.
//
// [Local] is a host with our stack. The nested module bench has one with another
// stack under it, which is why this is a package and not only tests.
//
// After each step each host is asked whether its books balance ([Host.Check]); at
// the end every byte was verified, no connection and no buffer is left.
package sim
