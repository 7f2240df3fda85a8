package ifq

import "golang.org/x/sys/unix"

// namespace is the network namespace of the caller's thread, in which the names of its
// devices mean something: an inode number (namespaces(7)), 0 if that is unknown.
func namespace() uint64 {
	var s unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &s) != nil {
		return 0
	}
	return s.Ino
}
