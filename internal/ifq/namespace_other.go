//go:build !linux

package ifq

func namespace() uint64 { return 0 }
