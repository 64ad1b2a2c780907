package tokenizer

// bytesEnd is the spelling of the end token of Bytes.
const bytesEnd = "<|endoftext|>"

// Bytes returns a tokenizer without merges: token b is the byte b, and token 256 ends a text. It is for models that have no
// vocabulary of their own.
func Bytes() (*Tokenizer, error) {
	const end = 256
	p := &parts{
		vocabulary: source{"tokenizer of bytes", "tokens"}, merging: source{"tokenizer of bytes", "merges"},
		unknown: noID, bos: noID, eos: end, unmerged: true,
		splitters: []splitter{scanner(nextGPT2)}, decoder: decoder{byteLevel: true},
		added: []addedToken{{text: bytesEnd, id: end, special: true}},
	}
	for _, r := range byteRune {
		p.texts = append(p.texts, string(r))
	}
	p.texts = append(p.texts, bytesEnd)
	return p.build()
}
