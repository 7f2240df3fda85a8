// Package nic prepares one receive queue of a network interface for zero-copy
// receive, and puts everything back.
//
// The kernel gives a queue's memory to an application only when the NIC splits
// headers from data, and that queue then must see the application's flows and
// no others. So, in this order: enough channels, header/data split for every
// size of packet, an RSS table without the queue, and a flow rule for each
// port. All of it is state of the interface that outlives the process, and that
// others may share; hence the three things this package is made of:
//
//   - A [Plan] says what would be changed, from what to what, and the ethtool
//     command that does the same. Making one changes nothing. What stands in the
//     way is an [ObstacleError].
//   - Applying it writes, before each change, how to undo it to a journal. The
//     journal's file is locked while its process lives, so that [Restore] can
//     tell what a killed process left behind, and revert it.
//   - Undoing goes backwards, and only where things are still as we left them:
//     what somebody else has changed meanwhile is left alone and reported.
//
// Several plans, of one process or several, may be in force on one interface,
// on different queues. What one still needs the others leave in place; the last
// one to go restores it.
//
// What others than we change because of what we do, as the kernel does when an
// XDP program is attached in generic mode, goes the same way: [Keep].
//
// Everything is read and set over sockets that are opened when a plan is made:
// they stay in the network namespace of the thread that made it, so that the
// methods of a plan may be called from any thread. Layouts are those of 64-bit
// kernels.
package nic
