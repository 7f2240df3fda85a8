//go:build !linux

package sockq

// CanHandle: threads have no names here.
const CanHandle = false

// CurrentThread is not known here.
func CurrentThread() Thread { return 0 }
