// Package uring speaks io_uring (io_uring(7)) without cgo: rings, the requests that zctap's engines make, provided-buffer
// rings, and probes of what the kernel can do. The files are cut by the kernel's verbs: setup, sqe (with prep and args),
// enter, cqe, register, pbuf, probe, msgring; feature asks the kernel what works. The files zcrx_* are the kernel's zero-copy
// receive, and instance is what stands between an engine and the kernel, so that package uringtest can take its place.
//
// # How a ring works
//
// A Ring is two queues in memory shared with the kernel, each with a cursor of internal/shring:
//
//	Push(sqe) ──> submission queue ──Submit, Enter──> kernel
//	                                                    │ the request runs, now or when its socket is ready
//	Reap(cqes) <── completion queue <───────────────────┘
//
// A request (SQE) is a value: a constructor makes it (RecvMultishot, AcceptMultishot, PollAdd, ...), Push copies it into the
// queue, Submit or Enter tells the kernel. Each ends with a completion (CQE) that carries the request's user data and a
// result. A multishot request makes many; CQE.More says whether it lives on. Reap copies completions out, so
// nothing that it returns is shared memory.
//
// A receive does not name a buffer. The application fills a BufRing with buffers, and the kernel takes one, or for a bundle
// several, when there is data. BufRing.Consume turns a completion into the segments of buffers that it filled
// and says which buffers are the application's again.
//
// # Zero-copy receive
//
// With a NIC that splits headers from payload, the kernel's TCP can leave payload where the NIC put it, in memory of the
// application's. Ring.RegisterZCRX takes possession of one receive queue of the NIC, an IFQ, and gives it an area for
// payload. RecvZC on a connection whose packets arrive there completes with places in the area (IFQ.Data), and each goes
// back through the refill ring (RQ) when it is not needed any more:
//
//	NIC ──> area ──RecvZC──> CQE: IFQ.Data ──> application
//	 ^                                             │
//	 └── page pool <── consumed when dry, Flush <── RQ.Room, Publish
//
// There is no way back for a queue but the ring's Close. Without a NIC (ZCRXConfig.NoDevice) the same can be
// done on any machine with a new kernel, with copies.
//
// # Rules
//
// Threads. A Ring and its BufRings are used by one goroutine at a time. With SetupSingleIssuer (and SetupDeferTaskrun, which
// needs it) that has to be one OS thread: call runtime.LockOSThread before New, or, with SetupRDisabled, before Enable,
// and stay on the thread for good, because requests end with the thread that made them. Others get EEXIST. Only a Waker is for
// all goroutines: it ends a wait in Enter by posting a completion.
//
// Waiting. Block in Enter. Do not put the ring's descriptor or an eventfd into the Go netpoller: with SetupDeferTaskrun some
// kernels wake such waiters late, or never.
//
// Completions. With SetupDeferTaskrun they appear only during Enter; Submit hands over requests and nothing more. When the
// completion queue is full the kernel keeps what does not fit (Overflowing), ends multishot requests, and hands all of it
// over after the next Reap and Enter. So nothing is lost, and a multishot request without More is pushed again.
//
// Memory. The kernel reads and writes addresses that SQEs and buffer rings hold, at any time until the final completion. They
// must be mapped memory or pinned: Go may move the rest, and the garbage collector does not see them. Small arguments (times,
// addresses of connect) are the exception: PushTimeout, PushConnect and PushRecvMsgMultishot place them
// in memory of the ring. Cancel and reap before such memory is unmapped or used for something else; closing the
// ring does not wait.
//
// User data is an index into a table of the application, never a pointer.
//
// Sockets are blocking ones (without O_NONBLOCK). The kernel then waits for readiness by itself, and no thread hangs.
//
// What a kernel can do is found out by trying: New fails with the name of the missing feature, Have runs a small
// trial. No decision is made from a version; versions appear in messages only. Falling back is the caller's business.
//
// The race detector does not see memory that the kernel shares. The parts that cross threads are tested with a peer on the
// heap in the kernel's place.
package uring
