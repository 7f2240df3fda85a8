//go:build !linux

package user

import "runtime"

func yield() { runtime.Gosched() }
