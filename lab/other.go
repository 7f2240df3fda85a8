//go:build !linux

package lab

// Main does nothing: the lab, and its guest, are for Linux.
func Main() {}
