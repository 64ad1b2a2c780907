package stages

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/storage"
)

type teeOptions struct {
	Path string `yaml:"path" default:"out/documents.jsonl" doc:"The file, or s3://BUCKET/KEY: a JSON object for each document, with id, text, question or questions, and its fields, as read-jsonl reads them. With .gz or .zst at its end it is compressed. Every run writes it anew, under its name when all documents have passed." example:"out/windows.jsonl.zst"`
}

// Check refuses paths that cannot be written to.
func (o *teeOptions) Check() []config.OptionError { return checkOutput(o.Path, "", "documents.jsonl") }

func (o *teeOptions) writes() string { return o.Path }

// tee writes each document to a file, and gives it on. To send documents to
// several stages needs none: these say from: the same one.
type tee struct {
	path   string
	file   *os.File // PATH.partial; nil before the first document
	buffer *bufio.Writer
	stream io.WriteCloser
}

func newTee(_ *Engine, o *teeOptions) (graph.Stage[*Document, *Document], error) {
	t := &tee{path: o.Path}
	err := reach(t.path)
	if err == nil {
		err = t.try()
	}
	if err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	return t, nil
}

// try makes a file beside PATH.partial: that may be another run's, of which the
// stages below are still to find out.
func (t *tee) try() error {
	dir := filepath.Dir(t.partial())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".*.partial")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

func (t *tee) partial() string { return localPath(t.path, "") + ".partial" }

// open begins the file, if it is not begun.
func (t *tee) open() error {
	if t.file != nil {
		return nil
	}
	file, err := os.Create(t.partial())
	if err != nil {
		return err
	}
	t.file, t.buffer = file, bufio.NewWriterSize(file, 1<<20)
	if t.stream, err = storage.Compress(t.buffer, t.path); err != nil {
		return errors.Join(err, t.Close())
	}
	return nil
}

// Process writes a document and gives it on.
func (t *tee) Process(_ context.Context, in *Document, emit func(*Document) error) error {
	if err := t.open(); err != nil {
		return fmt.Errorf("tee: %w", err)
	}
	record := make(map[string]any, len(in.Fields)+4)
	maps.Copy(record, in.Fields)
	record["id"], record["text"] = in.ID, in.Text
	delete(record, "question")
	delete(record, "questions")
	if in.Question != "" {
		record["question"] = in.Question
	}
	if len(in.Questions) > 0 {
		record["questions"] = in.Questions
	}
	line, err := json.Marshal(record)
	if err != nil {
		return &graph.DocumentError{ID: in.ID, Err: err}
	}
	if _, err := t.stream.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("tee: %w", err)
	}
	return emit(in)
}

// Flush gives the file its name, or makes it an object.
func (t *tee) Flush(ctx context.Context, _ func(*Document) error) error {
	if err := t.open(); err != nil { // where there were no documents
		return fmt.Errorf("tee: %w", err)
	}
	err := errors.Join(t.stream.Close(), t.buffer.Flush(), t.file.Sync())
	if err == nil && storage.IsObject(t.path) {
		return storage.Upload(ctx, t.file, t.path)
	}
	err = errors.Join(err, t.file.Close())
	t.file = nil
	if err == nil {
		err = os.Rename(t.partial(), t.path)
	}
	if err != nil {
		return fmt.Errorf("tee: %w", err)
	}
	return nil
}

// Close removes what is not whole, and what has become an object.
func (t *tee) Close() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return errors.Join(err, os.Remove(t.partial()))
}
