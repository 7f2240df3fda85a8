// Package ksock is the kernel's TCP and UDP sockets as the engines need them
// that leave the protocols to the kernel: addresses are netip.AddrPort, what
// the standard library's net package does by default is done here too (dual
// stack, TCP_NODELAY, SO_REUSEADDR for listeners), and no call sleeps.
//
// The descriptors are blocking ones all the same, and each call that must not
// sleep says so itself with MSG_DONTWAIT: io_uring waits for readiness on a
// blocking descriptor, but hands EAGAIN to its caller on one with O_NONBLOCK.
// Waiting for readiness is the engine's business.
//
// Errors are errnos in an *os.SyscallError, so that errors.Is finds
// ECONNREFUSED, EADDRINUSE and the like; calls on the data path return the bare
// errno, which costs no allocation. After Close it is net.ErrClosed.
package ksock
