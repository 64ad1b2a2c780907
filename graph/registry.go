package graph

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"

	"headinfer/config"
)

// A Registry holds the stages that pipeline files can name. It is a [config.Vocabulary]. It does not change once made.
type Registry struct {
	specs []Spec
	named map[stageKey]int // where in specs
}

type stageKey struct {
	level config.Level
	name  string
}

var _ config.Vocabulary = (*Registry)(nil)

var stageName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// NewRegistry returns a registry of specs, which it lists in the order given. The error names every spec that cannot be
// used: one whose name is taken at its level, that has no constructor, or whose options are not a struct.
func NewRegistry(specs ...Spec) (*Registry, error) {
	r := &Registry{named: map[stageKey]int{}}
	var found []error
	for _, s := range specs {
		if err := r.add(s); err != nil {
			found = append(found, fmt.Errorf("graph: stage %q of %q: %w", s.Name, s.Level, err))
		}
	}
	if len(found) > 0 {
		return nil, errors.Join(found...)
	}
	return r, nil
}

func (r *Registry) add(s Spec) error {
	key := stageKey{s.Level, s.Name}
	switch {
	case s.Level != config.Documents && s.Level != config.Heads:
		return fmt.Errorf("no such level; expected %q or %q", config.Documents, config.Heads)
	case !stageName.MatchString(s.Name):
		return errors.New("the name has other characters; expected lower-case letters and digits, with - between words")
	case s.build == nil || s.Options == nil:
		return errors.New("it has no constructor; make it with NewSource, NewStage or NewSink")
	}
	if t := reflect.TypeOf(s.Options()); t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("its options are a %v; expected a pointer to a struct", t)
	}
	if _, taken := r.named[key]; taken {
		return errors.New("the name is registered twice; give one another name")
	}
	r.named[key] = len(r.specs)
	r.specs = append(r.specs, s)
	return nil
}

// Stages returns the names of a level's stages in the order of registration.
func (r *Registry) Stages(level config.Level) []string {
	return r.names(level, func(Spec) bool { return true })
}

// Options returns a pointer to a fresh zero options struct of a stage; ok is false for a stage that the level lacks.
func (r *Registry) Options(level config.Level, stage string) (options any, ok bool) {
	s, ok := r.Spec(level, stage)
	if !ok {
		return nil, false
	}
	return s.Options(), true
}

// Spec returns what is registered under a name; ok is false if nothing is.
func (r *Registry) Spec(level config.Level, stage string) (s Spec, ok bool) {
	i, ok := r.named[stageKey{level, stage}]
	if !ok {
		return Spec{}, false
	}
	return r.specs[i], true
}

// Docs returns what the documentation says about each stage, in the order of registration. Item types are written short:
// *pkg.Prompt is "Prompt".
func (r *Registry) Docs() []config.StageDoc {
	docs := make([]config.StageDoc, len(r.specs))
	for i, s := range r.specs {
		docs[i] = config.StageDoc{
			Level: s.Level, Name: s.Name, Doc: s.Doc, Lossy: s.Lossy,
			In: typeName(s.In), Out: typeName(s.Out), Options: s.Options(),
		}
	}
	return docs
}

// names returns the names of the level's stages that are as wanted.
func (r *Registry) names(level config.Level, want func(Spec) bool) []string {
	var names []string
	for _, s := range r.specs {
		if s.Level == level && want(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// between returns the names of stages that, put between one that gives out and one that takes in, make the edge right: all
// single stages that do, or else the shortest chain; nil when there is none.
func (r *Registry) between(level config.Level, out, in reflect.Type) (names []string, chain bool) {
	names = r.names(level, func(s Spec) bool {
		return s.In != nil && s.Out != nil && takes(s.In, out) && takes(in, s.Out)
	})
	if names != nil {
		return names, false
	}
	type step struct {
		gives reflect.Type
		names []string
	}
	seen := map[reflect.Type]bool{out: true}
	for queue := []step{{gives: out}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, s := range r.specs {
			if s.Level != level || s.In == nil || s.Out == nil || !takes(s.In, at.gives) || seen[s.Out] {
				continue
			}
			seen[s.Out] = true
			next := step{s.Out, append(at.names[:len(at.names):len(at.names)], s.Name)}
			if takes(in, s.Out) {
				return next.names, true
			}
			queue = append(queue, next)
		}
	}
	return nil, false
}
