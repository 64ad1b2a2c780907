package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/pipelines"
	"headinfer/stages"
)

// overrides are the flags that change a pipeline file.
type overrides struct {
	sets   []string
	device string
}

func (o *overrides) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.sets, "set", nil, "change an option, such as heads.attention.group=1 or device.memory=1GiB (repeatable)")
	c.Flags().StringVar(&o.device, "device", "", "short for --set device.kind=: auto, cpu or cuda")
}

func (o *overrides) all() []string {
	if o.device == "" {
		return o.sets
	}
	return append(append([]string(nil), o.sets...), "device.kind="+o.device)
}

// short adds what --model and --device-memory are short for.
func (o *overrides) short(model, memory string) {
	if model != "" {
		o.sets = append(o.sets, "model.path="+model)
	}
	if memory != "" {
		o.sets = append(o.sets, "device.memory="+memory)
	}
}

// pipeline is a checked pipeline file.
type pipeline struct {
	*config.Pipeline
	documents, heads *graph.Graph
	trace            bool // its engine keeps what a trace is written from
}

// load reads and checks a pipeline file. What is wrong with it is a usage error.
func (o *overrides) load(path string) (*pipeline, error) {
	registry, err := stages.Registry()
	if err != nil {
		return nil, err
	}
	file, err := config.LoadFile(path, registry, o.all())
	if err != nil {
		return nil, usage(err)
	}
	return check(registry, file)
}

func check(registry *graph.Registry, file *config.Pipeline) (*pipeline, error) {
	documents, heads, err := stages.Graphs(registry, file)
	if err != nil {
		return nil, usage(err)
	}
	return &pipeline{Pipeline: file, documents: documents, heads: heads}, nil
}

// loadMethod reads a pipeline that the program carries.
func (o *overrides) loadMethod(name string) (*pipeline, error) {
	src, err := pipelines.Read(name)
	if err != nil {
		hint := ""
		if near := config.Nearest(name, pipelines.Names()); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return nil, usage(fmt.Errorf("--method: no method %q; there are %s%s", name, strings.Join(pipelines.Names(), ", "), hint))
	}
	registry, err := stages.Registry()
	if err != nil {
		return nil, err
	}
	file, err := config.Load("method "+name, src, registry, o.all(), os.LookupEnv)
	if err != nil {
		return nil, usage(err)
	}
	return check(registry, file)
}
