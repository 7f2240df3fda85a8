// Package udp is the sockets of UDP (RFC 768): what comes in is charged and
// queued for the application where the driver put it, within bounds; what goes
// out waits in a ring, copied once, until the engine sends it.
package udp
