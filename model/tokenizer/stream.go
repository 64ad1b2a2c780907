package tokenizer

import "unicode/utf8"

// Stream decodes ids one at a time for showing text as it is generated: what it returns never ends inside a UTF-8
// character. It belongs to one goroutine.
type Stream struct {
	t       *Tokenizer
	started bool
	held    []byte // the start of a character whose other bytes haven't come yet: at most 3 bytes
}

// NewStream starts a Stream at the beginning of a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Push adds a token and returns the text that is complete with it, which may be "". Bytes that can't be UTF-8 whatever
// follows are returned as they are.
func (s *Stream) Push(id int32) string {
	text := s.t.bytesOf(id, !s.started)
	s.started = s.started || text != "" || !s.t.headTillText
	s.held = append(s.held, text...)
	n := len(s.held) - incomplete(s.held)
	out := string(s.held[:n])
	s.held = append(s.held[:0], s.held[n:]...)
	return out
}

// Flush returns the bytes still held back, which are the beginning of a character that never ended, and starts anew.
func (s *Stream) Flush() string {
	out := string(s.held)
	s.held, s.started = s.held[:0], false
	return out
}

// incomplete is how many bytes at the end of b begin a character that more bytes could complete.
func incomplete(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
