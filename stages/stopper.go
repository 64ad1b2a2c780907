package stages

import "strings"

// stopper passes text on until a stop string appears in it. What could be the
// beginning of a stop string is held back until it is known not to be one.
type stopper struct {
	stops  []string
	show   func(string)
	all    strings.Builder
	held   string
	halted bool
}

func newStopper(stops []string, show func(string)) *stopper {
	return &stopper{stops: stops, show: show}
}

// push takes more text and reports whether a stop string has ended it.
func (s *stopper) push(text string) bool {
	if s.halted || text == "" {
		return s.halted
	}
	s.held += text
	end := -1
	for _, stop := range s.stops {
		if at := strings.Index(s.held, stop); stop != "" && at >= 0 && (end < 0 || at < end) {
			end = at
		}
	}
	if end >= 0 {
		s.halted = true
		s.release(end)
		return true
	}
	s.release(len(s.held) - s.longestBeginning())
	return false
}

// longestBeginning returns how much of held's end could grow into a stop string.
func (s *stopper) longestBeginning() int {
	longest := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > longest; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}

func (s *stopper) release(n int) {
	if n > 0 {
		s.all.WriteString(s.held[:n])
		s.show(s.held[:n])
	}
	s.held = s.held[n:]
}

// text returns what has been passed on.
func (s *stopper) text() string { return s.all.String() }

// finish passes on what is held and returns everything.
func (s *stopper) finish() string {
	if !s.halted {
		s.release(len(s.held))
	}
	return s.text()
}
