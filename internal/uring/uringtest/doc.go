// Package uringtest plays the kernel's side of an io_uring instance on the heap, so that the race detector sees all memory
// that an engine shares with its kernel: the area, the refill ring, and the completions. It is for tests.
//
// A Kernel is a uring.Instance. It serves real sockets and other descriptors, inside Enter as the real kernel does with
// DEFER_TASKRUN, with the requests that an engine of interface queues makes: RecvZC, AcceptMultishot and Accept, PollAdd,
// PollRemove, Cancel in all its forms, Shutdown, Close and Nop. Others complete with EINVAL. What is hard to bring about
// with a real kernel can be asked for here: a NIC that packs the payload of several connections into one buffer, that runs
// dry and recovers, a completion queue of any size, and faults.
//
// It keeps the kernel's books on the buffers as well. What an application must not do is counted (Counts.Bogus), and a buffer
// that is free is overwritten: who still reads it is a data race, or sees it.
//
// What it leaves out: the order of completions among connections, links, drains and fixed files.
package uringtest
