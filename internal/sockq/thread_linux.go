package sockq

import "golang.org/x/sys/unix"

// CanHandle: a handler can tell that it is one.
const CanHandle = true

// currentThread is the caller's thread, which it is locked to if it is an engine's.
func currentThread() int32 { return int32(unix.Gettid()) }
