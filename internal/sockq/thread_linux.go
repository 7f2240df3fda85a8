package sockq

import "golang.org/x/sys/unix"

// CanHandle: a handler can tell that it is one.
const CanHandle = true

// CurrentThread is the caller's thread, which it is locked to if it is an engine's.
func CurrentThread() Thread { return Thread(unix.Gettid()) }
