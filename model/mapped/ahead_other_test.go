//go:build !linux

package mapped

// populates reports whether the system reads pages when it is told to.
func populates([]byte) bool { return false }
