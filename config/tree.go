package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxFile is the largest file, in bytes.
	maxFile = 1 << 20
	// MaxValues is the most values and keys that a file may hold, once its aliases are expanded.
	MaxValues = 10_000
	// maxTokens is the most words and marks in a file; a key with its colon and value is three.
	maxTokens = 3 * MaxValues
	// maxDepth is the most levels of nesting; a pipeline has six.
	maxDepth = 64
)

type nodeKind int

const (
	nothing nodeKind = iota
	scalar
	list
	mapping
	// unusable is a value whose problem is reported already; nothing more is said about it.
	unusable
)

// node is a parsed value with aliases resolved and variables expanded. Aliases share nodes, so a node is never changed.
type node struct {
	kind nodeKind
	at   place
	// text is a scalar's value; verbatim says it was quoted, so "64" is a text and not a number.
	text     string
	verbatim bool
	items    []*node
	pairs    []pair
	// size is how many values and keys this is with aliases written out, saturating just over MaxValues.
	size int
}

type pair struct {
	key   string
	at    place
	value *node
}

// get returns the value of a key of a mapping, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, p := range n.pairs {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// with returns a copy of the mapping with one pair replaced or added. A nil or empty value counts as an empty mapping.
func (n *node) with(added pair) *node {
	result := &node{kind: mapping, at: added.at}
	if n != nil {
		result.at = n.at
		for _, p := range n.pairs {
			if p.key != added.key {
				result.pairs = append(result.pairs, p)
			}
		}
	}
	result.pairs = append(result.pairs, added)
	return result
}

// describe says what a node is, for "option is …".
func (n *node) describe() string {
	switch n.kind {
	case list:
		return "a list"
	case mapping:
		return "a mapping"
	case scalar:
		if !n.verbatim && n.text != "" && (isDigit(n.text[0]) || n.text[0] == '-') {
			return clip(n.text)
		}
		return fmt.Sprintf("%q", clip(n.text))
	}
	return "empty"
}

// treeBuilder turns one YAML text into nodes.
type treeBuilder struct {
	file     string
	inline   bool // the text is an override's value: its positions mean nothing
	env      func(string) (string, bool)
	anchors  map[string]*node
	merged   int // pairs that merge keys have copied so far
	problems Problems
}

// parseTree reads one YAML document. With problems, the tree is what could be read, or nil.
func parseTree(file string, inline bool, src []byte, env func(string) (string, bool)) (*node, Problems) {
	b := &treeBuilder{file: file, inline: inline, env: env, anchors: map[string]*node{}}
	document := b.parse(src)
	if document == nil {
		return nil, b.problems
	}
	root := b.convert(document, 0)
	if root.size > MaxValues {
		b.report(place{file: file, Position: Position{1, 1}},
			fmt.Sprintf("the file holds more than %d values once its aliases are expanded", MaxValues), "fewer aliases")
		return nil, b.problems
	}
	return root, b.problems
}

func (b *treeBuilder) report(at place, what, want string) {
	if b.inline {
		at.Position = Position{}
	}
	b.problems = append(b.problems, at.problem(what, want, ""))
}

func (b *treeBuilder) place(tk *token.Token) place {
	if b.inline || tk == nil || tk.Position == nil {
		return place{file: b.file}
	}
	return place{b.file, Position{tk.Position.Line, tk.Position.Column}}
}

// parse checks the text's limits and returns the body of its one document, or nil after reporting why not.
func (b *treeBuilder) parse(src []byte) ast.Node {
	start := place{file: b.file, Position: Position{1, 1}}
	if len(src) > maxFile {
		b.report(start, fmt.Sprintf("the file has %d bytes", len(src)), fmt.Sprintf("at most %d: is it a pipeline?", maxFile))
		return nil
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if at, ok := firstNonText(src); ok {
		b.report(place{b.file, at}, "a byte that is not UTF-8 text", "a YAML file in UTF-8")
		return nil
	}
	// Windows' line ends go first: the scanner counts some of them twice.
	src = bytes.ReplaceAll(bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	tokens := lexer.Tokenize(string(src))
	if at, what, want := overLimit(tokens); what != "" {
		b.report(place{b.file, at}, what, want)
		return nil
	}
	file, err := parseTokens(tokens)
	var yamlError yaml.Error
	switch {
	case err == nil:
	case errors.As(err, &yamlError):
		at := b.place(yamlError.GetToken())
		message := strings.Join(strings.Fields(yamlError.GetMessage()), " ")
		if strings.Contains(yamlError.GetMessage(), "'\t'") {
			b.report(at, "a tab where only spaces may stand", "spaces: YAML is not indented with tabs")
		} else {
			b.report(at, "not valid YAML: "+message, "")
		}
		return nil
	default:
		b.report(start, "not valid YAML: "+err.Error(), "")
		return nil
	}
	var body ast.Node
	for _, document := range file.Docs {
		if document.Body == nil || document.Body.Type() == ast.DirectiveType || document.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			at := b.place(document.Start)
			if document.Start == nil {
				at = b.nodePlace(document.Body)
			}
			b.report(at, "a second document", "one pipeline a file: split the file at ---")
			return nil
		}
		body = document.Body
	}
	if body == nil {
		b.report(start, "the file is empty", "a pipeline: model, device, documents, heads")
	}
	return body
}

// parseTokens runs the YAML parser. A panic in it becomes an error.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			file, err = nil, fmt.Errorf("the parser failed (%v); write this file more plainly", cause)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// overLimit finds what the parser cannot handle in about a second: its time grows with the square of the number of
// tokens, and with the depth.
func overLimit(tokens token.Tokens) (at Position, what, want string) {
	flow, line, onLine := 0, 0, 0
	for i, tk := range tokens {
		if tk.Position.Line != line {
			line, onLine = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if flow == 0 {
				onLine++
			}
		}
		at = Position{tk.Position.Line, tk.Position.Column}
		if flow > maxDepth || onLine > maxDepth {
			return at, fmt.Sprintf("values nested more than %d levels deep", maxDepth), "a pipeline's six levels at most"
		}
		if i >= maxTokens {
			return at, fmt.Sprintf("more than %d words and marks so far", maxTokens), "a smaller file: is it a pipeline?"
		}
	}
	return at, "", ""
}

// firstNonText finds the first byte that is not valid UTF-8.
func firstNonText(src []byte) (Position, bool) {
	if utf8.Valid(src) {
		return Position{}, false
	}
	at := Position{1, 1}
	for len(src) > 0 {
		r, size := utf8.DecodeRune(src)
		if r == utf8.RuneError && size == 1 {
			return at, true
		}
		at.Column++
		if r == '\n' {
			at = Position{at.Line + 1, 1}
		}
		src = src[size:]
	}
	return Position{}, false
}
