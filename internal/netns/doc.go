// Package netns makes network namespaces and the links between them, and runs
// functions and processes inside them: what the tests against the Linux
// kernel's own TCP and the demo stand on. It speaks to the kernel directly
// and needs no ip command.
//
// A network namespace belongs to a thread, not to a process or a goroutine
// (network_namespaces(7)), and the Go scheduler moves goroutines between
// threads. So everything here that changes namespace does it on a goroutine of
// its own that is locked to its thread, and a thread that cannot be brought
// home ends with that goroutine instead of going back to the scheduler.
//
// Making a namespace needs CAP_SYS_ADMIN, which root has, and so has a process
// started with [ReexecUser], whoever started it.
package netns
