package transfer

import (
	"bufio"
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
)

// Host is a machine's memory in bytes, as this process may use it.
type Host struct{ Total, Available int64 }

// HostMemory returns what the system says of its memory, or less where the
// process's control group allows less. known is false where it says nothing.
func HostMemory() (h Host, known bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Host{}, false
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "MemTotal":
			h.Total = kib << 10
		case name == "MemAvailable":
			h.Available, known = kib<<10, true
		}
	}
	if limit, used, ok := controlGroup(); ok {
		h.Total = min(h.Total, limit)
		h.Available = min(h.Available, max(limit-used, 0))
	}
	return h, known
}

// controlGroup returns the tightest memory limit of the process's control
// groups and what that group uses, without the file cache that the system
// would give up.
func controlGroup() (limit, used int64, ok bool) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, 0, false
	}
	consider := func(folder, limitFile, usageFile, prefix string) {
		l, err := readNumber(path.Join(folder, limitFile))
		if err != nil || l <= 0 {
			return
		}
		u, err := readNumber(path.Join(folder, usageFile))
		if err != nil {
			return
		}
		for _, cache := range []string{"inactive_file", "active_file"} {
			u -= statistic(path.Join(folder, "memory.stat"), prefix+cache)
		}
		if !ok || l-u < limit-used {
			limit, used, ok = l, max(u, 0), true
		}
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			switch {
			case fields[0] == "0" && fields[1] == "":
				consider(path.Join("/sys/fs/cgroup", group), "memory.max", "memory.current", "")
			case fields[1] == "memory":
				consider(path.Join("/sys/fs/cgroup/memory", group), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
			}
			if group == "/" {
				break
			}
		}
	}
	return limit, used, ok
}

// readNumber reads a file with one number; "max" is an error, as is no file.
func readNumber(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// statistic returns a named line's number of a memory.stat file, or 0.
func statistic(file, name string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
