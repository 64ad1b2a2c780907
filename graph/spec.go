package graph

import (
	"fmt"
	"reflect"

	"headinfer/config"
)

// A Spec is what there is to know about a kind of stage: what documentation, checks and drawings say, and how one is made.
// It is made by [NewSource], [NewStage], [NewBatcher], [NewSink] or [NewFlow], and used through a [Registry].
type Spec struct {
	Level   config.Level
	Name    string       // as pipeline files write it
	Doc     string       // one or more sentences
	Lossy   string       // what is lost; empty in a stage that keeps the computation exact
	In, Out reflect.Type // what it takes and gives; In is nil for a source, Out for a sink
	Options func() any   // returns a pointer to a fresh zero options struct

	build func(env, options any) (func(*node), error)
}

// NewSource describes a source. E is the environment that [Graph.Build] is given, or an interface that it implements; O is
// a struct whose fields are the stage's options, as package config reads them. makeSource gets options that are filled in
// and checked, and must not start anything: Close is called on what it returns even if the run never starts.
func NewSource[E, Out, O any](level config.Level, name, doc string,
	makeSource func(env E, options *O) (Source[Out], error)) Spec {
	s := newSpec[O](level, name, doc, nil, reflect.TypeFor[Out]())
	s.build = builder(makeSource, bindSource[Out])
	return s
}

// NewStage describes a stage between others; see [NewSource].
func NewStage[E, In, Out, O any](level config.Level, name, doc string,
	makeStage func(env E, options *O) (Stage[In, Out], error)) Spec {
	s := newSpec[O](level, name, doc, reflect.TypeFor[In](), reflect.TypeFor[Out]())
	s.build = builder(makeStage, bindStage[In, Out])
	return s
}

// NewSink describes a sink; see [NewSource].
func NewSink[E, In, O any](level config.Level, name, doc string, makeSink func(env E, options *O) (Sink[In], error)) Spec {
	s := newSpec[O](level, name, doc, reflect.TypeFor[In](), nil)
	s.build = builder(makeSink, bindSink[In])
	return s
}

// AsLossy returns the spec of a stage after which the model no longer computes the same function; what says what is lost.
func (s Spec) AsLossy(what string) Spec {
	s.Lossy = what
	return s
}

func newSpec[O any](level config.Level, name, doc string, in, out reflect.Type) Spec {
	return Spec{Level: level, Name: name, Doc: doc, In: in, Out: out, Options: func() any { return new(O) }}
}

// builder joins a stage's constructor and what makes a node run it.
func builder[E, O, S any](construct func(E, *O) (S, error), bind func(*node, S),
) func(env, options any) (func(*node), error) {
	return func(env, options any) (func(*node), error) {
		e, err := as[E](env)
		if err != nil {
			return nil, fmt.Errorf("the environment is a %T; expected a %v", env, reflect.TypeFor[E]())
		}
		o, ok := options.(*O)
		if !ok || o == nil {
			return nil, fmt.Errorf("the options are a %T; expected a %v that is not nil", options, reflect.TypeFor[*O]())
		}
		stage, err := construct(e, o)
		if err != nil {
			return nil, err
		}
		return func(n *node) { bind(n, stage) }, nil
	}
}

// takes reports whether a stage that takes items of type in can read from one that gives items of type out.
func takes(in, out reflect.Type) bool {
	return in == out || in.Kind() == reflect.Interface && out.Implements(in)
}

// typeName writes an item type as people say it: without its package, and without the star of a pointer.
func typeName(t reflect.Type) string {
	if t == nil {
		return ""
	}
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		return typeName(t.Elem())
	}
	if t == reflect.TypeFor[any]() {
		return "anything"
	}
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}
