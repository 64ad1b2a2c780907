package tokenizer

// trie finds the tokens that a text begins with, one step a byte. Node 0 is the start. The edges of all nodes are in one hash
// table with linear probing, at most half full.
type trie struct {
	tokens []int32 // node → the token that ends there, or noID
	edges  []trieEdge
	used   int
}

type trieEdge struct {
	key  uint64 // the node and the byte, plus 1; 0 is a free slot
	node int32
}

func newTrie() *trie { return &trie{tokens: []int32{noID}, edges: make([]trieEdge, 1<<8)} }

func (t *trie) slot(key uint64) int {
	mask := len(t.edges) - 1
	i := int(key*0x9E3779B97F4A7C15>>32) & mask
	for t.edges[i].key != key && t.edges[i].key != 0 {
		i = (i + 1) & mask
	}
	return i
}

func edgeKey(node int32, b byte) uint64 { return uint64(node)<<8 + uint64(b) + 1 }

// add makes text end at token; a text added twice keeps the later.
func (t *trie) add(text string, token int32) {
	node := int32(0)
	for i := range len(text) {
		e := &t.edges[t.slot(edgeKey(node, text[i]))]
		if e.key == 0 {
			if t.used++; 2*t.used > len(t.edges) {
				t.grow()
				e = &t.edges[t.slot(edgeKey(node, text[i]))]
			}
			*e = trieEdge{key: edgeKey(node, text[i]), node: int32(len(t.tokens))}
			t.tokens = append(t.tokens, noID)
		}
		node = e.node
	}
	t.tokens[node] = token
}

func (t *trie) grow() {
	old := t.edges
	t.edges = make([]trieEdge, 2*len(old))
	for _, e := range old {
		if e.key != 0 {
			t.edges[t.slot(e.key)] = e
		}
	}
}

// step goes along the edge b, or gives noID if there is none.
func (t *trie) step(node int32, b byte) int32 {
	e := &t.edges[t.slot(edgeKey(node, b))]
	if e.key == 0 {
		return noID
	}
	return e.node
}

// longest is the longest token that s begins with and its length, or 0 for that.
func (t *trie) longest(s string) (token int32, length int) {
	token = noID
	node := int32(0)
	for i := 0; i < len(s); i++ {
		if node = t.step(node, s[i]); node < 0 {
			break
		}
		if id := t.tokens[node]; id != noID {
			token, length = id, i+1
		}
	}
	return token, length
}
