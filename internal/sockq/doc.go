// Package sockq is the socket queue: where an engine leaves payload for the
// application, and how the application learns of it.
//
// A [Queue] holds a stream's frags in order, a [Datagrams] whole datagrams, a
// [Backlog] connections to accept. Each has one producer, the engine's
// goroutine, which pushes without a lock and publishes once a batch, and one
// consumer at a time. A consumer that finds nothing has two ways to wait, and
// both are the same mechanism seen from two sides (the RFC's RECV_ZC is
// likewise the only way to receive, armed once or many times):
//
//   - it blocks on the queue itself (Wait), for a goroutine a connection;
//   - it arms the queue's [Source] on a [CQ] and drains that, for one goroutine
//     over any number of connections. The engine links a source that has
//     something into the CQ, once however much arrives, and wakes the CQ's
//     consumer once a batch.
//
// Each frag in a queue stands for one kernel reference to its buffer. Pop turns
// it into the application's user reference.
package sockq
