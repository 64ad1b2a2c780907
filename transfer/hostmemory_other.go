//go:build !linux

package transfer

// Host is a machine's memory in bytes, as this process may use it.
type Host struct{ Total, Available int64 }

// HostMemory says that nothing is known: only Linux's is read.
func HostMemory() (h Host, known bool) { return Host{}, false }
