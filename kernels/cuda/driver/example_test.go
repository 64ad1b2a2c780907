//go:build cuda && cgo && linux

package driver_test

import (
	"errors"
	"fmt"
	"log"
	"unsafe"

	"headinfer/kernels/cuda/driver"
)

func Example() {
	if n, reason := driver.Available(); n == 0 {
		log.Fatal(reason)
	}
	c, err := driver.Open(0)
	if err != nil {
		log.Fatal(err)
	}
	s, err := c.NewStream(driver.Normal)
	if err != nil {
		log.Fatal(err)
	}
	there, err := c.Alloc(8)
	if err != nil {
		log.Fatal(err)
	}
	text, back := []byte("8 bytes."), make([]byte, 8)
	err = errors.Join(
		s.CopyIn(there, unsafe.Pointer(&text[0]), 8),
		s.CopyOut(unsafe.Pointer(&back[0]), there, 8),
		s.Synchronize(),
		c.Free(there), s.Close(), c.Close())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(back))
}
