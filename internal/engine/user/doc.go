// Package user is the engine with zctap's own protocol stack: a driver fills
// buffers of the region with frames, and package stack makes streams and
// datagrams of them that stay in those buffers.
//
// One goroutine, locked to its thread, does all of the work (loop.go). It is the
// only one to touch the driver, the stack and the connections' state.
// Applications' goroutines meet it at four places only: the socket queues, where
// received payload waits for them; the send buffers, where what they write waits
// for the loop; the command queue (command.go), by which they ask for everything
// else; and the pool, to which they return buffers. None of these has the loop
// wait for an application, but for the moment that it takes to leave a queue that
// is being closed.
package user
