package stages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
)

type directoryOptions struct {
	Path      string `yaml:"path" default:"out/answers" doc:"The directory, or s3://BUCKET/PREFIX: an answer's text is in a file of its own, called like its document. index.jsonl beside them says, when the run is complete, which file has which answer, and what else there is to know of it." example:"s3://corpus/answers"`
	Extension string `yaml:"extension" default:".txt" doc:"What the files' names end with." example:".md"`
	State     string `yaml:"state" default:"" doc:"For s3://, the local path beside which index.jsonl and the state of the run are kept; by default, out/BUCKET/PREFIX/index.jsonl." example:"out/index.jsonl"`
}

// indexName is the file of a directory that lists the others.
const indexName = "index.jsonl"

var extensionForm = regexp.MustCompile(`^\.[A-Za-z0-9_]{1,16}$`)

// Check refuses paths that cannot be written to, and extensions that are none.
func (o *directoryOptions) Check() []config.OptionError {
	bad := checkOutput(o.Path, o.State, "answers")
	if !extensionForm.MatchString(o.Extension) || strings.EqualFold(o.Extension, ".jsonl") {
		bad = append(bad, config.OptionError{Option: "extension", What: fmt.Sprintf("is %q", o.Extension), Want: "a dot and up to 16 letters or digits, such as .txt, and not .jsonl"})
	}
	return bad
}

// index is the path of the list of files.
func (o *directoryOptions) index() string { return strings.TrimRight(o.Path, `/\`) + "/" + indexName }

func (o *directoryOptions) output() (path string, journaled bool) {
	return filepath.Clean(localPath(o.index(), o.State)), true
}

func (o *directoryOptions) journal() journal.Options {
	return journalOf(o.index(), "completion", "directory of "+o.Extension)
}

func (o *directoryOptions) writes() string {
	return strings.TrimRight(o.Path, `/\`) + "/*" + o.Extension
}

// directory writes an answer a file. The journal is written after the file: an
// answer that the journal does not have is made again, under the same name.
type directory struct {
	engine  *Engine
	options *directoryOptions
	journal *journal.Journal
}

func newDirectory(e *Engine, o *directoryOptions) (graph.Sink[*Answer], error) {
	d := &directory{engine: e, options: o}
	err := reach(o.index())
	if err == nil && !storage.IsObject(o.Path) {
		err = os.MkdirAll(o.Path, 0o755)
	}
	if err == nil {
		d.journal, err = e.openJournal(o)
	}
	if err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	return d, nil
}

// Consume writes the file, and then keeps what there is to know of it.
func (d *directory) Consume(ctx context.Context, in *Answer) error {
	if d.journal.Has(in.ID) { // or another document's file would be replaced
		return d.engine.Keep(d.journal, in, nil) // which says what is to be done about it
	}
	name := fileName(in.ID) + d.options.Extension
	if err := d.write(ctx, name, []byte(in.Answer)); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	record, err := json.Marshal(struct {
		File string `json:"file"`
		*Answer
	}{name, in})
	if err != nil {
		return err
	}
	return d.engine.Keep(d.journal, in, record)
}

// write makes a file that is whole or not there.
func (d *directory) write(ctx context.Context, name string, text []byte) error {
	if storage.IsObject(d.options.Path) {
		return storage.Put(ctx, text, strings.TrimRight(d.options.Path, "/")+"/"+name)
	}
	path := filepath.Join(d.options.Path, name)
	file, err := os.CreateTemp(d.options.Path, ".*.partial")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = errors.Join(file.Chmod(0o644), file.Sync())
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDirectory(d.options.Path)
}

// syncDirectory forces the names in a directory to disk, where the system has
// that.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Finish makes the index whole.
func (d *directory) Finish(ctx context.Context) error {
	if err := d.journal.Finish(packed(ctx, d.options.index(), nil)); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// Close leaves what a run that was cut short has written, for the next.
func (d *directory) Close() error { return d.journal.Close() }

var (
	// plainName is a name that every file system takes, and takes for no other.
	plainName = regexp.MustCompile(`^[a-z0-9_][a-z0-9._-]{0,99}$`)
	// marked is a name that could be one that another id was given.
	marked = regexp.MustCompile(`-[0-9a-f]{16}$`)
	// reserved are names that Windows keeps for devices.
	reserved = regexp.MustCompile(`^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)
	odd      = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// fileName makes a name for a file out of an id: the id itself if every file
// system can have a file of that name beside any other; else as much of it as
// can be read, and a mark that no other id has.
func fileName(id string) string {
	if plainName.MatchString(id) && !marked.MatchString(id) && !reserved.MatchString(id) && !strings.HasSuffix(id, ".") {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	name := strings.Trim(odd.ReplaceAllString(id, "_"), "._-")
	if len(name) > 80 {
		name = name[len(name)-80:] // paths differ at their ends
	}
	if name == "" || reserved.MatchString(strings.ToLower(name)) {
		name = "id"
	}
	return name + "-" + hex.EncodeToString(sum[:8])
}
