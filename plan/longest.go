package plan

// Room is the memory of a machine, in bytes.
type Room struct {
	Device int64
	Host   int64 // for caches
	// Both bounds the two together, where they are parts of the same memory; 0:
	// they are not.
	Both int64
}

// Holds reports whether a run fits.
func (r Room) Holds(use Memory) bool {
	return use.Device() <= r.Device && use.HostKV <= r.Host && (r.Both == 0 || use.Device()+use.HostKV <= r.Both)
}

// Longest returns the most tokens, up to some number, of a text that a method has
// room for, read as a prompt; 0 if there is none for a single one. As Memory, it
// leaves operators' workspace out.
func (m Model) Longest(how Method, r Room, most int) int {
	// Nothing that a text takes shrinks as it grows.
	fits, past := 0, most+1
	for past-fits > 1 {
		n := fits + (past-fits)/2
		if r.Holds(m.Memory(how, n, n)) {
			fits = n
		} else {
			past = n
		}
	}
	return fits
}

// Adapt returns a method with the largest group that has room for a text of some
// tokens, as adaptive grouping chooses it: all KV heads, or half of them, or half of
// these, and so on.
func (m Model) Adapt(how Method, r Room, tokens int) Method {
	for how.Group = m.KVHeads; how.Group > 1 && !r.Holds(m.Memory(how, tokens, tokens)); {
		how.Group = (how.Group + 1) / 2
	}
	return how
}
