// Package atomic is sync/atomic, as far as zctap's lock-free parts use it: the same types by
// other names, at no cost. With -tags interleave each operation is a point at which
// interleave.Explore may run another goroutine.
//
// Who imports it has to import sync/atomic, too, in some file of the package, if only as "_":
// the compiler inlines methods of types of packages that are imported, and not all of those
// that it knows by an alias alone. internal/lint holds the packages to it.
package atomic
