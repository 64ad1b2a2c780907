package hub

import "golang.org/x/sys/windows"

// diskFull is a full disk.
const diskFull = windows.ERROR_DISK_FULL

// freeSpace returns the bytes that a folder's disk has left for this user.
func freeSpace(dir string) (bytes int64, known bool) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	var free uint64
	if windows.GetDiskFreeSpaceEx(path, &free, nil, nil) != nil {
		return 0, false
	}
	return int64(free), true
}
