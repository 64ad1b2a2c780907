//go:build !linux

package simd

import "time"

var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) }
