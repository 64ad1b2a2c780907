//go:build !(cuda && cgo && linux)

package driver

// Available returns how many CUDA devices can be opened, and why when none
// can.
func Available() (devices int, reason string) {
	return 0, "this binary was built without CUDA; on Linux, \"make cuda\" builds one that has it"
}
