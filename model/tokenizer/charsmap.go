package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// charsmap is SentencePiece's compiled table of replacements: a double-array trie whose values are offsets of texts that end
// with a zero byte. As bytes: the size of the trie in bytes, its units (all uint32, little endian), the texts.
//
// A unit holds, from bit 0: 8 bits of label, 1 bit that says whether a key ends here, 1 bit that says that the offset counts
// in units of 256, and 22 bits of offset; or, marked by bit 31, a value of 31 bits.
type charsmap struct {
	units []uint32
	texts []byte
	first [256]bool // a key begins with this byte
}

// charsmapKey bounds the keys that are looked for, in bytes: those of a damaged trie may have no end.
const charsmapKey = 256

// charsmapMatches is how many keys that begin at one place SentencePiece looks at.
const charsmapMatches = 32

func newCharsmap(data []byte) (*charsmap, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("a charsmap of %d bytes; it begins with its size, of 4 bytes", len(data))
	}
	size := binary.LittleEndian.Uint32(data)
	data = data[4:]
	if size%4 != 0 || size == 0 || uint64(size) > uint64(len(data)) {
		return nil, fmt.Errorf("a charsmap whose trie should have %d bytes, of %d that there are; it is cut short or no charsmap", size, len(data))
	}
	c := &charsmap{units: make([]uint32, size/4), texts: data[size:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	if n := len(c.texts); n == 0 || c.texts[n-1] != 0 {
		return nil, errors.New("a charsmap whose last text doesn't end with a zero byte; it is cut short")
	}
	for b := range c.first {
		node := c.child(0, byte(b))
		c.first[b] = node >= 0
	}
	return c, nil
}

// child is the node behind the edge b of node at, or -1.
func (c *charsmap) child(at int, b byte) int {
	u := c.units[at]
	next := at ^ int(u>>10<<(u&(1<<9)>>6)) ^ int(b)
	if next >= len(c.units) || c.units[next]&(1<<31|0xFF) != uint32(b) {
		return -1
	}
	return next
}

// text is what replaces the key that ends at node, if one does.
func (c *charsmap) text(node int) ([]byte, bool) {
	u := c.units[node]
	if u>>8&1 == 0 {
		return nil, false
	}
	leaf := node ^ int(u>>10<<(u&(1<<9)>>6))
	if leaf >= len(c.units) {
		return nil, false
	}
	from := int(c.units[leaf] &^ (1 << 31))
	if from >= len(c.texts) {
		return nil, false
	}
	to := bytes.IndexByte(c.texts[from:], 0)
	return c.texts[from : from+to], true
}

// longest is what replaces the longest key that s begins with, and the key's length; 0 if there is none.
func (c *charsmap) longest(s string) (with []byte, length int) {
	if !c.first[s[0]] {
		return nil, 0
	}
	node := 0
	for i, found := 0, 0; i < min(len(s), charsmapKey) && found < charsmapMatches; i++ {
		if node = c.child(node, s[i]); node < 0 {
			break
		}
		if text, ok := c.text(node); ok {
			with, length = text, i+1
			found++
		}
	}
	return with, length
}

// shortest is what replaces the shortest key that s begins with.
func (c *charsmap) shortest(s string) ([]byte, bool) {
	if !c.first[s[0]] {
		return nil, false
	}
	node := 0
	for i := 0; i < len(s) && s[i] != 0; i++ {
		if node = c.child(node, s[i]); node < 0 {
			break
		}
		if text, ok := c.text(node); ok {
			return text, true
		}
	}
	return nil, false
}

// clusterMaxBytes bounds the grapheme clusters that are looked up as a whole.
const clusterMaxBytes = 6

// normalise is the normaliser Precompiled of the Hugging Face library, which differs from SentencePiece: it looks up grapheme
// clusters of less than 6 bytes, and takes the shortest key that one begins with for the whole of it; then each
// character.
func (c *charsmap) normalise(s string) (string, bool, error) {
	out := make([]byte, 0, len(s)+len(s)/8)
	whole, most := s, grown(s)
	for s != "" {
		if len(out) > most {
			return "", false, errGrown(whole)
		}
		cluster := s[:1]
		if len(s) > 1 && (s[0] >= utf8.RuneSelf || s[1] >= utf8.RuneSelf || s[0] == '\r') {
			cluster, _, _, _ = uniseg.FirstGraphemeClusterInString(s, -1)
		}
		s = s[len(cluster):]
		if len(cluster) < clusterMaxBytes {
			if text, ok := c.shortest(cluster); ok {
				out = append(out, text...)
				continue
			}
		}
		for len(cluster) > 0 {
			_, n := utf8.DecodeRuneInString(cluster)
			if text, ok := c.shortest(cluster[:n]); ok {
				out = append(out, text...)
			} else {
				out = append(out, cluster[:n]...)
			}
			cluster = cluster[n:]
		}
	}
	return string(out), false, nil
}
