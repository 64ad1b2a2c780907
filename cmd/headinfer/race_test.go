//go:build race

package main

// raceDetector says that the race detector's own memory, which grows with
// every goroutine and page, is part of the process.
const raceDetector = true
