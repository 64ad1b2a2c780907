package stages

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"headinfer/config"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

// reachTime is how long an object store has to answer before a run begins.
const reachTime = 30 * time.Second

// localPath is where an output is made and its journal kept: the output's path,
// or for an object state, or else a path below out that is called like it.
func localPath(path, state string) string {
	switch {
	case !storage.IsObject(path):
		return path
	case state != "":
		return state
	}
	return filepath.Join("out", filepath.FromSlash(strings.Trim(strings.TrimPrefix(path, "s3://"), "/")))
}

// checkOutput refuses paths that cannot be an output's, and a state for what
// has its journal beside it.
func checkOutput(path, state, example string) []config.OptionError {
	var bad []config.OptionError
	if path == "" {
		bad = append(bad, config.OptionError{Option: "path", What: "is empty", Want: "a path, such as " + example})
	} else if storage.CheckObject(path, false) != nil {
		bad = append(bad, config.OptionError{Option: "path", What: "is " + path + ", without a bucket or a key", Want: "an object, such as s3://corpus/" + example})
	}
	if state != "" && (!storage.IsObject(path) || storage.IsObject(state)) {
		bad = append(bad, config.OptionError{Option: "state", What: "is " + state, Want: "a local path, where path is s3://; else the journal is beside path"})
	}
	return bad
}

// reach fails if path cannot become an output: it is found now, and not when
// the work is done.
func reach(path string) error {
	if storage.IsObject(path) {
		ctx, cancel := context.WithTimeout(context.Background(), reachTime)
		defer cancel()
		return storage.Reach(ctx, path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory; name a file", path)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file, and the format is made when all is done; write jsonl there", path)
	}
	return nil
}

// packed returns what makes an output of a journal's records, which format
// writes to a stream: it is compressed by the path's extension, and uploaded if
// the path is an object's. It is nil where the records are the output as they
// are. A format of nil keeps the records.
func packed(ctx context.Context, path string, format func(dst io.Writer, records io.Reader) error) func(*os.File, io.Reader) error {
	if format == nil {
		if !storage.IsObject(path) && storage.Compression(path) == "" {
			return nil
		}
		format = func(dst io.Writer, records io.Reader) error {
			_, err := io.Copy(dst, records)
			return err
		}
	}
	return func(dst *os.File, records io.Reader) error {
		buffered := bufio.NewWriterSize(dst, 1<<20)
		stream, err := storage.Compress(buffered, path)
		if err != nil {
			return err
		}
		if err := format(stream, records); err != nil {
			return errors.Join(err, stream.Close())
		}
		if err := errors.Join(stream.Close(), buffered.Flush()); err != nil {
			return err
		}
		if !storage.IsObject(path) {
			return nil
		}
		return storage.Upload(ctx, dst, path)
	}
}

// journalOf is what the journal of an output is told of it: its form says what is made
// of the records, but for their order.
func journalOf(path, order, form string) journal.Options {
	if order == "input" {
		form += " in the order of the input"
	}
	return journal.Options{Form: form, Ordered: order == "input", Elsewhere: uploaded(path)}
}

// uploaded returns what finds out whether an object is still what was uploaded, which is
// kept beside the journal; nil where the path is no object's.
func uploaded(path string) func(output string) error {
	if !storage.IsObject(path) {
		return nil
	}
	return func(output string) error {
		file, err := os.Open(output)
		if err != nil {
			return err
		}
		what, err := storage.Differs(context.Background(), path, file)
		if err = errors.Join(err, file.Close()); err != nil || what == "" {
			return err
		}
		return fmt.Errorf("%s, which was complete, %s (%w); upload %s again, which is what was there, or start over with --restart", path, what, journal.ErrDamaged, output)
	}
}

// tableSink keeps answers in a journal, and makes a table of them when all are
// there.
type tableSink struct {
	engine  *Engine
	journal *journal.Journal
	path    string
	table   func(io.Writer, []table.Column) (table.Writer, error)
}

func newTableSink(e *Engine, o outputOptions, path string, write func(io.Writer, []table.Column) (table.Writer, error)) (*tableSink, error) {
	s := &tableSink{engine: e, path: path, table: write}
	err := reach(path)
	if err == nil {
		s.journal, err = e.openJournal(o)
	}
	if err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	return s, nil
}

// Consume keeps an answer.
func (s *tableSink) Consume(_ context.Context, in *Answer) error {
	record, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return s.engine.Keep(s.journal, in, record)
}

// Finish makes the table, and gives it its name.
func (s *tableSink) Finish(ctx context.Context) error {
	if err := s.journal.Finish(packed(ctx, s.path, s.format)); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// Close leaves what a run that was cut short has written, for the next.
func (s *tableSink) Close() error { return s.journal.Close() }

// format writes the table, a record at a time.
func (s *tableSink) format(dst io.Writer, records io.Reader) error {
	w, err := s.table(dst, answerColumns)
	if err != nil {
		return err
	}
	d := json.NewDecoder(records)
	for {
		a := new(Answer)
		if err := d.Decode(a); errors.Is(err, io.EOF) {
			return w.Close()
		} else if err != nil {
			return errors.Join(fmt.Errorf("a record of the journal: %w", err), w.Close())
		}
		if err := w.Write(answerRow(a)); err != nil {
			return errors.Join(err, w.Close())
		}
	}
}

// answerColumns are an answer's, by the names that jsonl writes.
var answerColumns = []table.Column{
	{Name: "id", Kind: table.Text}, {Name: "question", Kind: table.Text}, {Name: "answer", Kind: table.Text}, {Name: "stop", Kind: table.Text},
	{Name: "prompt_tokens", Kind: table.Whole}, {Name: "answer_tokens", Kind: table.Whole},
	{Name: "prefill_seconds", Kind: table.Number}, {Name: "decode_seconds", Kind: table.Number},
	{Name: "expected", Kind: table.Texts}, {Name: "score", Kind: table.Number},
}

// answerRow are an answer's values in the order of answerColumns.
func answerRow(a *Answer) []any {
	row := []any{
		a.ID, a.Question, a.Answer, a.Stop, int64(a.PromptTokens), int64(a.AnswerTokens), a.PrefillSeconds, a.DecodeSeconds, nil, nil,
	}
	if a.Grade != nil {
		row[8], row[9] = a.Expected, a.Score
	}
	return row
}
