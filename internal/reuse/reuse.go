// Package reuse keeps heap objects for the next who needs one: a typed sync.Pool.
//
// Under the race detector sync.Pool forgets a quarter of what it is given, which
// would hide from tests that count allocations what the code itself allocates.
// There a Pool is a list behind a mutex, and forgets nothing.
package reuse
