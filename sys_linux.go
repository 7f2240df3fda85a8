package zctap

import "golang.org/x/sys/unix"

func writev(fd int, views [][]byte) (int, error) { return unix.Writev(fd, views) }
