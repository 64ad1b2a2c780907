package stages

import (
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
	Mode string `yaml:"mode" default:"replace" enum:"replace,append" doc:"replace writes to PATH.partial and renames it when the run is complete, so that PATH is always whole; append adds to PATH and forces each record to disk. A device or a pipe is written as it is." example:"append"`
}

type jsonl struct {
	options *jsonlOptions
	file    *os.File
	path    string // the options' path, or what it links to
	partial string // what Finish renames to path; "" when path itself is written
	sync    bool   // force each record to disk
	records int
}

func newJSONL(_ *Engine, o *jsonlOptions) (graph.Sink[*Answer], error) {
	s := &jsonl{options: o}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	return s, nil
}

func (s *jsonl) open() (err error) {
	path := s.options.Path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a rename would put a file in the link's place
	}
	s.path = path
	// What cannot become the output is found now, and not when the work is done.
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory; name a file, such as %s", path, filepath.Join(path, "answers.jsonl"))
	case err == nil && !info.Mode().IsRegular():
		// A rename would put a file in the device's place.
		s.file, err = os.OpenFile(path, os.O_WRONLY, 0)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if s.options.Mode == "append" {
		s.sync = true
		s.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		return s.endLine()
	}
	s.partial = path + ".partial"
	s.file, err = os.Create(s.partial)
	return err
}

// endLine closes a record that a power cut left torn, so that the next one
// begins a line of its own.
func (s *jsonl) endLine() error {
	info, err := s.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := s.file.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = s.file.Write([]byte("\n"))
	return err
}

// Consume writes a record, whole, before the next is taken.
func (s *jsonl) Consume(_ context.Context, in *Answer) error {
	line, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if n, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("output: %w", errors.Join(err, s.cut(n)))
	}
	s.records++
	if s.sync {
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	return nil
}

// cut takes n bytes of a record that did not fit off the end of the file.
func (s *jsonl) cut(n int) error {
	info, err := s.file.Stat()
	if err != nil || n == 0 || !info.Mode().IsRegular() {
		return err
	}
	return s.file.Truncate(info.Size() - int64(n))
}

// Finish gives the complete file its name.
func (s *jsonl) Finish(context.Context) error {
	if s.partial == "" {
		return nil
	}
	err := errors.Join(s.file.Sync(), s.file.Close())
	s.file = nil
	if err == nil {
		err = os.Rename(s.partial, s.path)
	}
	if err != nil {
		return fmt.Errorf("output: %w; the answers are in %s", err, s.partial)
	}
	return nil
}

// Close leaves what a run that was cut short has written, unless that is nothing.
func (s *jsonl) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.partial != "" && s.records == 0 {
		err = errors.Join(err, os.Remove(s.partial))
	}
	return err
}
