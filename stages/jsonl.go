package stages

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"headinfer/graph"
)

type jsonlOptions struct {
	Path string `yaml:"path" default:"out/answers.jsonl" doc:"The file to write, a JSON object a line." example:"out/answers.jsonl"`
	Mode string `yaml:"mode" default:"replace" enum:"replace,append" doc:"replace writes to PATH.partial and renames it when the run is complete, so that PATH is always whole; append adds to PATH and forces each record to disk." example:"append"`
}

type jsonl struct {
	options *jsonlOptions
	file    *os.File
	out     *bufio.Writer
	records int
}

func newJSONL(_ *Engine, o *jsonlOptions) (graph.Sink[*Answer], error) {
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	s := &jsonl{options: o}
	var err error
	if o.Mode == "append" {
		s.file, err = os.OpenFile(o.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	} else {
		s.file, err = os.Create(s.partial())
	}
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	s.out = bufio.NewWriter(s.file)
	return s, nil
}

func (s *jsonl) partial() string { return s.options.Path + ".partial" }

// Consume writes a record, whole, before the next is taken.
func (s *jsonl) Consume(_ context.Context, in *Answer) error {
	line, err := json.Marshal(in)
	if err != nil {
		return err
	}
	s.out.Write(append(line, '\n'))
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	s.records++
	if s.options.Mode == "append" {
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	return nil
}

// Finish gives the complete file its name.
func (s *jsonl) Finish(context.Context) error {
	if s.options.Mode == "append" {
		return nil
	}
	if err := errors.Join(s.file.Sync(), s.file.Close()); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	s.file = nil
	if err := os.Rename(s.partial(), s.options.Path); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// Close leaves what a run that was cut short has written, unless that is nothing.
func (s *jsonl) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.options.Mode == "replace" && s.records == 0 {
		err = errors.Join(err, os.Remove(s.partial()))
	}
	return err
}
