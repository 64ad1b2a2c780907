//go:build linux || darwin

package hub

import "golang.org/x/sys/unix"

// diskFull is what the system calls a quota that is used up; a full disk itself
// has the same name everywhere.
const diskFull = unix.EDQUOT

// freeSpace returns the bytes that a folder's disk has left for this user.
func freeSpace(dir string) (bytes int64, known bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail * uint64(s.Bsize)), true
}
