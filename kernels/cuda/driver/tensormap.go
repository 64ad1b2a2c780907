//go:build cuda && cgo && linux

package driver

/*
#include "shim.h"

#cgo noescape hi_tensor_map
#cgo nocallback hi_tensor_map
*/
import "C"

// TensorMap tells a kernel's bulk copies how a tensor lies in memory (compute
// capability 9.0 and later). It is passed to a launch as these words, in a struct
// aligned to 64 bytes.
type TensorMap [16]uint64

// Boxes is a tensor of bf16 in device memory that kernels copy to shared memory
// box by box. Dimensions go from the innermost out, whose elements are next to each
// other.
type Boxes struct {
	At    Pointer // aligned to 16 bytes
	Size  [3]int  // elements
	Pitch [2]int  // bytes from one to the next of the outer dimensions, multiples of 16
	Box   [3]int  // elements, up to 256 each; a box's rows of 64 are swizzled in groups of 8
}

// TensorMap encodes t; what a box has outside the tensor will be zeros. An error is
// the driver's, when sizes or alignments are not such as above.
func (c *Context) TensorMap(t Boxes) (TensorMap, error) {
	var boxes C.hi_boxes
	for i := range t.Size {
		boxes.size[i], boxes.box[i] = C.uint64_t(t.Size[i]), C.uint32_t(t.Box[i])
	}
	for i := range t.Pitch {
		boxes.pitch[i] = C.uint64_t(t.Pitch[i])
	}
	var m TensorMap
	if code := C.hi_tensor_map(c.binding, C.uint64_t(t.At), boxes, (*C.uint64_t)(&m[0])); code != 0 {
		return TensorMap{}, failed(code, "describing a tensor at %#x, sizes %v, bytes apart %v, to be copied in boxes of %v", t.At, t.Size, t.Pitch, t.Box)
	}
	return m, nil
}
