package main

import (
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"headinfer/kernels/cpu/simd"
	"headinfer/transfer"
)

// hostFacts are a machine's processors and memory. What the system does not
// say is 0 or empty.
type hostFacts struct {
	Processor string `json:"processor"`
	Threads   int    `json:"threads"` // that Go may run on at once
	Level     string `json:"kernels"` // the instructions that our kernels use
	// What this process may use, which a control group may bound, and what is
	// installed.
	TotalBytes     int64 `json:"total_bytes"`
	AvailableBytes int64 `json:"available_bytes"`
	InstalledBytes int64 `json:"installed_bytes"`
	// LockLimit is "unlimited" or a number of bytes ("ulimit -l").
	LockLimit string  `json:"lock_limit"`
	HugePages string  `json:"transparent_huge_pages"` // "always", "madvise" or "never"
	ReadRate  float64 `json:"read_bytes_per_second"`  // by all threads together
}

// readHost finds out what the system's files tell; root is where "proc" and
// "sys" are.
func readHost(root fs.FS) hostFacts {
	h := hostFacts{
		Processor: field(root, "proc/cpuinfo", "model name"),
		Threads:   runtime.NumCPU(), Level: simd.Level(),
		LockLimit: lockLimit(root), HugePages: hugePages(root),
	}
	if memory, known := transfer.HostMemory(); known {
		h.TotalBytes, h.AvailableBytes = memory.Total, memory.Available
	}
	installed, _, _ := strings.Cut(field(root, "proc/meminfo", "MemTotal"), " ")
	if kib, err := strconv.ParseInt(installed, 10, 64); err == nil {
		h.InstalledBytes = kib << 10
	}
	return h
}

func thisHost() hostFacts { return readHost(os.DirFS("/")) }

// field returns what stands behind "name:" in a file of such lines.
func field(root fs.FS, file, name string) string {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// lockLimit returns the soft limit of locked memory.
func lockLimit(root fs.FS) string {
	text, err := fs.ReadFile(root, "proc/self/limits")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max locked memory"); ok {
			if values := strings.Fields(rest); len(values) > 0 {
				return values[0]
			}
		}
	}
	return ""
}

// hugePages returns the choice that stands in brackets: "always [madvise] never".
func hugePages(root fs.FS) string {
	text, err := fs.ReadFile(root, "sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), "[")
	choice, _, _ := strings.Cut(rest, "]")
	return choice
}
