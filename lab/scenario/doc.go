// Package scenario has what is proven in lab machines, as tests: that the lab's
// NIC and an unmodified kernel do true zero-copy receive, with a program in C
// that has nothing of zctap in it, and what happens when things go wrong.
package scenario
