package user

import "golang.org/x/sys/unix"

// yield lets the system run another thread that waits for this CPU. (Go's own
// Gosched knows only of goroutines that wait for a P, and there is one for each CPU.)
func yield() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
