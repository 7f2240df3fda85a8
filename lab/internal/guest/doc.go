// Package guest is the inside of a lab machine: what runs as its first
// process, and the protocol by which that talks to the runner outside
// (package lab).
//
// The guest has no init system and no shell of its own. Its first process is
// the runner's own executable, which finds out in [Main] that it has woken up
// as process 1 of a lab machine. It lives there twice:
//
//	init    process 1: mounts the kernel's file systems, starts the agent,
//	        reaps orphans, and switches the machine off when the agent ends,
//	        however it ends
//	agent   its child: loads modules, opens the port to the runner, and carries
//	        out jobs: network first, then steps (processes), then files
//
// Both ends of the port speak frames (frame.go) that carry the messages of
// message.go. The runner treats what comes out of the port as hostile, since
// the programs in the guest run as root and can write to it. The agent trusts
// the runner.
package guest
