package config

// Node is a value of a YAML file that is no pipeline, with its place: packages read files of their own kinds by it, with
// the same limits, variables and errors. The zero Node is no value.
type Node struct{ n *node }

// Pair is a key of a mapping and its value.
type Pair struct {
	Key   string
	Value Node
	at    place
}

// Override is an option's value from a file other than the pipeline's own.
type Override struct {
	path  string // as --set has it
	at    place  // of the path
	value *node
}

// ParseNode reads a file's one document. env is as in [Load]. With problems, the Node is zero.
func ParseNode(file string, src []byte, env func(string) (string, bool)) (Node, Problems) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	root, problems := parseTree(file, false, src, env)
	if len(problems) > 0 {
		problems.Sort()
		return Node{}, problems
	}
	return Node{root}, nil
}

// Is reports whether there is a value.
func (n Node) Is() bool { return n.n != nil && n.n.kind != nothing }

// Pairs returns a mapping's; ok is false for anything else.
func (n Node) Pairs() (pairs []Pair, ok bool) {
	if n.n == nil || n.n.kind != mapping {
		return nil, false
	}
	for _, p := range n.n.pairs {
		pairs = append(pairs, Pair{p.key, Node{p.value}, p.at})
	}
	return pairs, true
}

// Items returns a list's; ok is false for anything else.
func (n Node) Items() (items []Node, ok bool) {
	if n.n == nil || n.n.kind != list {
		return nil, false
	}
	for _, item := range n.n.items {
		items = append(items, Node{item})
	}
	return items, true
}

// Text returns a single value's; ok is false for a list, a mapping or none.
func (n Node) Text() (text string, ok bool) {
	if n.n == nil || n.n.kind != scalar {
		return "", false
	}
	return n.n.text, true
}

// Get returns the value of a mapping's key, zero if there is none.
func (n Node) Get(key string) Node { return Node{n.n.get(key)} }

// Describe says what the value is, for "… is …".
func (n Node) Describe() string {
	if n.n == nil {
		return "empty"
	}
	return n.n.describe()
}

// Problem makes a Problem about the value, which must not be zero.
func (n Node) Problem(what, want, nearest string) Problem { return n.n.at.problem(what, want, nearest) }

// Line is the value's; 0 if there is none.
func (n Node) Line() int {
	if n.n == nil {
		return 0
	}
	return n.n.at.Line
}

// Problem makes a Problem about the key.
func (p Pair) Problem(what, want, nearest string) Problem { return p.at.problem(what, want, nearest) }

// Override makes a value that of the option that the key names.
func (p Pair) Override(value Node) Override { return Override{p.Key, p.at, value.n} }

// Decode sets the struct that options points to as a stage's is set: to its defaults, and then to the values of the
// mapping. owner is for errors; reserved are keys that the caller reads.
func (n Node) Decode(options any, owner string, reserved ...string) Problems {
	l := &loader{file: n.n.at.file}
	l.decodeOptions(options, owner, n.n, n.n.at, reserved...)
	return l.problems
}
