package chat

// loopState is the name loop inside of a loop.
type loopState struct {
	items   []any
	at      int
	depth   int // of recursion
	changed *list
	again   func(any) (string, error) // runs the loop over something else; nil unless the loop is recursive
}

// attribute is loop.name.
func (l *loopState) attribute(name string) (any, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return l.at + 1, true
	case "index0":
		return l.at, true
	case "revindex":
		return n - l.at, true
	case "revindex0":
		return n - l.at - 1, true
	case "first":
		return l.at == 0, true
	case "last":
		return l.at == n-1, true
	case "length":
		return n, true
	case "depth":
		return l.depth + 1, true
	case "depth0":
		return l.depth, true
	case "previtem":
		if l.at > 0 {
			return l.items[l.at-1], true
		}
		return undefined{"loop.previtem of the first item"}, true
	case "nextitem":
		if l.at < n-1 {
			return l.items[l.at+1], true
		}
		return undefined{"loop.nextitem of the last item"}, true
	case "cycle":
		return &function{name, func(_ *run, args arguments) (any, error) {
			if len(args.positional) == 0 {
				return nil, failf("loop.cycle needs values")
			}
			return args.positional[l.at%len(args.positional)], nil
		}}, true
	case "changed":
		return &function{name, func(r *run, args arguments) (any, error) {
			now := &list{items: args.positional}
			if l.changed != nil {
				if same, err := r.equal(l.changed, now); err != nil || same {
					return false, err
				}
			}
			l.changed = now
			return true, nil
		}}, true
	}
	return nil, false
}
