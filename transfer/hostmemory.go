package transfer

import (
	"errors"
	"fmt"

	"headinfer/kernels"
)

// hostReserve of host memory is left to the rest of the machine: a process that
// takes the last of it is killed, without a word.
const hostReserve = 512 << 20

// ForCaches returns how many bytes of a machine's free memory caches may take.
func ForCaches(machine Host) int64 { return max(machine.Available-hostReserve, 0) }

// ErrHostMemory is matched by every HostMemoryError.
var ErrHostMemory = errors.New("host memory exceeded")

// HostMemoryError says how much more host memory was asked for than there is.
type HostMemoryError struct {
	What   string // the thing that asked, such as "KV cache of 4096 tokens"
	Asked  int64  // bytes
	Left   int64  // bytes
	Held   int64  // bytes that the caches hold already
	Budget int64  // bytes; 0 if the machine's free memory is the limit
	Hint   string
}

// Error names the amounts and, if known, what to change.
func (e *HostMemoryError) Error() string {
	s := fmt.Sprintf("%s asked for %s more host memory, all caches hold %s, and ", e.What, kernels.FormatBytes(e.Asked), kernels.FormatBytes(e.Held))
	if e.Budget > 0 {
		s += fmt.Sprintf("%s of the budget of %s is left", kernels.FormatBytes(e.Left), kernels.FormatBytes(e.Budget))
	} else {
		s += fmt.Sprintf("the machine has %s to give (%s is left to the system)", kernels.FormatBytes(e.Left), kernels.FormatBytes(hostReserve))
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Is makes errors.Is(err, ErrHostMemory) true.
func (e *HostMemoryError) Is(target error) bool { return target == ErrHostMemory }
