//go:build !interleave

package interleave

// Enabled reports whether this is a build that explores.
const Enabled = false

// Await is where a goroutine is about to wait until ready: for Explore, of which this build
// knows nothing.
func Await(func() bool) {}
