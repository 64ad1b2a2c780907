//go:build !linux && !darwin && !windows

package hub

import "syscall"

// diskFull is a full disk.
const diskFull = syscall.ENOSPC

// freeSpace does not know: these systems each call it something else, and a
// disk that is full says so when it is written to.
func freeSpace(string) (bytes int64, known bool) { return 0, false }
