package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// nodePlace is where a person would say a node begins: a block mapping begins at its first key, not at that key's colon.
func (b *treeBuilder) nodePlace(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return b.nodePlace(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return b.nodePlace(n.Key)
	}
	return b.place(n.GetToken())
}

// convert turns a parsed value into a node. It never returns nil: what it cannot use is reported and marked so.
func (b *treeBuilder) convert(n ast.Node, depth int) *node {
	if n == nil { // as the parser leaves an anchor or a tag with nothing behind it
		return &node{at: place{file: b.file}, size: 1}
	}
	result := &node{at: b.nodePlace(n), size: 1}
	if depth > maxDepth {
		b.report(result.at, fmt.Sprintf("values nested more than %d levels deep", maxDepth), "a pipeline's six levels at most")
		result.kind = unusable
		return result
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		b.fillMapping(result, n.Values, depth)
	case *ast.MappingValueNode:
		b.fillMapping(result, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		result.kind = list
		for _, item := range n.Values {
			value := b.convert(item, depth+1)
			result.items = append(result.items, value)
			result.size = min(result.size+value.size, MaxValues+1)
		}
	case *ast.AnchorNode:
		// The name is registered after its value is read, so an alias inside its own anchor is unknown and not a cycle.
		value := b.convert(n.Value, depth+1)
		b.anchors[n.Name.GetToken().Value] = value
		return value
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		if value, ok := b.anchors[name]; ok {
			return value
		}
		result.kind = unusable
		words := make([]string, 0, len(b.anchors))
		for word := range b.anchors {
			words = append(words, word)
		}
		b.problems = append(b.problems, result.at.problem(fmt.Sprintf("the alias *%s names no anchor above it", clip(name)),
			fmt.Sprintf("&%s before the value that it repeats", clip(name)), Nearest(name, sorted(words))))
	case *ast.TagNode:
		result.kind = unusable
		b.report(result.at, fmt.Sprintf("the YAML tag %s", clip(n.GetToken().Value)), "no tag: a text that looks like a number is quoted")
	case *ast.LiteralNode:
		b.fillScalar(result, n.Value.Value, true)
	case *ast.StringNode:
		quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
		b.fillScalar(result, n.Value, quoted)
	case ast.ScalarNode:
		b.fillScalar(result, n.GetToken().Value, false)
	default:
		result.kind = unusable
		b.report(result.at, fmt.Sprintf("a YAML %s", n.Type()), "a value, a list or a mapping")
	}
	return result
}

// fillScalar makes n a scalar. A variable's text counts as unquoted even in quotes, which YAML needs around ${} within { }.
func (b *treeBuilder) fillScalar(n *node, text string, quoted bool) {
	value, expanded, what, want := expand(text, b.env, 0)
	if what != "" {
		b.report(n.at, what, want)
		n.kind = unusable
		return
	}
	n.kind, n.text, n.verbatim = scalar, value, quoted && !expanded
}

// fillMapping makes n a mapping. A merge key's pairs stand behind the mapping's own, and never replace one.
func (b *treeBuilder) fillMapping(n *node, values []*ast.MappingValueNode, depth int) {
	n.kind = mapping
	own := make(map[string]Position, len(values))
	var merged []*node
	for _, entry := range values {
		value := b.convert(entry.Value, depth+1)
		n.size = min(n.size+1+value.size, MaxValues+1)
		at := b.nodePlace(entry.Key)
		if _, ok := entry.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, b.mergeSources(at, value)...)
			continue
		}
		key, ok := keyText(entry.Key)
		if !ok {
			b.report(at, "a key that is not a word", "a word before the colon")
			continue
		}
		if first, twice := own[key]; twice {
			b.report(at, fmt.Sprintf("the key %q is here twice", clip(key)), fmt.Sprintf("it once: the first is on line %d", first.Line))
			continue
		}
		own[key] = at.Position
		n.pairs = append(n.pairs, pair{key, at, value})
	}
	for _, source := range merged {
		if b.merged += len(source.pairs); b.merged > MaxValues {
			n.size = MaxValues + 1 // past the limit, so that the whole file is refused
			return
		}
		for _, p := range source.pairs {
			if _, taken := own[p.key]; !taken {
				own[p.key] = p.at.Position
				n.pairs = append(n.pairs, p)
			}
		}
	}
}

// mergeSources returns the mappings that a merge key's value names: one mapping or a list of them.
func (b *treeBuilder) mergeSources(at place, value *node) []*node {
	sources := []*node{value}
	if value.kind == list {
		sources = value.items
	}
	for _, source := range sources {
		if source.kind == unusable {
			return nil
		}
		if source.kind != mapping {
			b.report(at, "the merge key << has a value that is "+source.describe(), "an alias of a mapping, as in <<: *shared")
			return nil
		}
	}
	return sources
}

// keyText returns a key's word.
func keyText(key ast.Node) (string, bool) {
	switch key := key.(type) {
	case *ast.MappingKeyNode:
		return keyText(key.Value)
	case *ast.AnchorNode:
		return keyText(key.Value)
	case *ast.StringNode:
		return key.Value, true
	case *ast.LiteralNode, *ast.AliasNode, *ast.TagNode, nil:
		return "", false
	case ast.ScalarNode:
		return key.GetToken().Value, true
	}
	return "", false
}
