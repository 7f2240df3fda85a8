//go:build !linux

package sockq

// CanHandle: threads have no names here.
const CanHandle = false

func currentThread() int32 { return 0 }
