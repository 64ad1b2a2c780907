package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
)

type jsonlOptions struct {
	Path  string `yaml:"path" default:"out/answers.jsonl" doc:"The file to write, a JSON object a line, or s3://BUCKET/KEY. With .gz or .zst at its end it is compressed, when the run is complete. A device or a pipe is written as it is." example:"out/answers.jsonl"`
	State string `yaml:"state" default:"" doc:"For s3://, the local path beside which the answers and the state of the run are kept; by default, out/BUCKET/KEY." example:"out/answers.jsonl"`
	Mode  string `yaml:"mode" default:"resume" enum:"resume,append" doc:"resume keeps the records in PATH.partial until the run is complete, and a run that was cut short is gone on with: each answer is in PATH once. append adds all answers of every run to PATH, and forces each to disk." example:"append"`
	Order string `yaml:"order" default:"completion" enum:"completion,input" doc:"The order of the records: as they were completed, or as their documents were read. For input, PATH is made of PATH.records when the run is complete." example:"input"`
}

// Check refuses paths that cannot be written to, and what a file that is only
// added to cannot be.
func (o *jsonlOptions) Check() []config.OptionError {
	bad := checkOutput(o.Path, o.State, "answers.jsonl")
	if o.Mode != "append" {
		return bad
	}
	if o.Order == "input" {
		bad = append(bad, config.OptionError{Option: "order", What: "is input, and mode is append", Want: "mode: resume, or order: completion"})
	}
	if storage.IsObject(o.Path) || storage.Compression(o.Path) != "" {
		bad = append(bad, config.OptionError{Option: "path", What: "is " + o.Path + ", and mode is append", Want: "mode: resume, or a plain file"})
	}
	return bad
}

// output is the file, which has a journal beside it unless it is added to or is
// no file.
func (o *jsonlOptions) output() (path string, journaled bool) {
	return localPath(o.Path, o.State), o.Mode == "resume" && !o.special()
}

func (o *jsonlOptions) journal() journal.Options { return journalOf(o.Path, o.Order, "jsonl") }

func (o *jsonlOptions) writes() string { return o.Path }

// special reports whether the path is a device or a pipe, in whose place a
// rename would put a file.
func (o *jsonlOptions) special() bool {
	if storage.IsObject(o.Path) {
		return false
	}
	info, err := os.Stat(o.Path)
	return err == nil && !info.IsDir() && !info.Mode().IsRegular()
}

// jsonl writes to a journal, or to a file as it is.
type jsonl struct {
	engine  *Engine
	path    string
	journal *journal.Journal
	file    *os.File
	sync    bool // force each record to disk
}

func newJSONL(e *Engine, o *jsonlOptions) (graph.Sink[*Answer], error) {
	s := &jsonl{engine: e, path: o.Path}
	if err := s.open(o); err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	return s, nil
}

// open finds what cannot become the output now, and not when the work is done.
func (s *jsonl) open(o *jsonlOptions) error {
	if info, err := os.Stat(o.Path); err == nil && info.IsDir() && !storage.IsObject(o.Path) {
		return fmt.Errorf("%s is a directory; name a file, such as %s", o.Path, filepath.Join(o.Path, "answers.jsonl"))
	}
	if o.special() {
		var err error
		s.file, err = os.OpenFile(o.Path, os.O_WRONLY, 0)
		return err
	}
	if o.Mode == "resume" {
		err := reach(o.Path)
		if err == nil {
			s.journal, err = s.engine.openJournal(o)
		}
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		return err
	}
	s.sync = true
	var err error
	s.file, err = os.OpenFile(o.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	return s.endLine()
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

// Consume writes a record, whole, before the next is taken; a journal's is
// committed soon.
func (s *jsonl) Consume(_ context.Context, in *Answer) error {
	line, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if s.journal != nil {
		return s.engine.Keep(s.journal, in, line)
	}
	if n, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("output: %w", errors.Join(err, s.cut(n)))
	}
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
func (s *jsonl) Finish(ctx context.Context) error {
	if s.journal == nil {
		return nil
	}
	if err := s.journal.Finish(packed(ctx, s.path, nil)); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// Close leaves what a run that was cut short has written, for the next.
func (s *jsonl) Close() error {
	if s.journal != nil {
		return s.journal.Close()
	}
	return s.file.Close()
}
