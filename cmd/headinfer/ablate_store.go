package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"headinfer/model"
	"headinfer/plan"
)

// ablateSample is a line of samples.jsonl: one unit, or the device's rates. Times are
// in seconds.
type ablateSample struct {
	Key     string `json:"key"` // of what was measured, with what
	Row     string `json:"row,omitempty"`
	Kind    string `json:"kind"`
	Context int    `json:"context_tokens,omitempty"`
	Filled  bool   `json:"kv_filled,omitempty"`
	Repeat  int    `json:"repeat"`
	Error   string `json:"error,omitempty"`

	Prefill float64   `json:"prefill_seconds,omitempty"`
	Steps   []float64 `json:"decode_seconds,omitempty"` // of each token
	Read    *moves    `json:"prefill_copies,omitempty"`
	Decoded *moves    `json:"decode_copies,omitempty"` // of all steps
	Facts   *rowFacts `json:"facts,omitempty"`

	Longest  *longestRow     `json:"longest,omitempty"`
	Accuracy *accuracyFigure `json:"accuracy,omitempty"`
	Distance *distanceFigure `json:"distance,omitempty"`
	Rates    *benchRates     `json:"rates,omitempty"`
}

// rowFacts are what every sample of a row at a context has in common.
type rowFacts struct {
	Bench   benchRow    `json:"row"` // without figures
	Model   plan.Model  `json:"model"`
	How     plan.Method `json:"method"`
	Least   plan.Method `json:"least"`   // for the longest texts
	Partial bool        `json:"partial"` // attention leaves tokens out
}

// moves is work as it is written.
type moves struct {
	In      int64   `json:"in_bytes"`
	Out     int64   `json:"out_bytes"`
	Copying float64 `json:"copying_seconds"`
	Hidden  float64 `json:"hidden_seconds"`
	Host    float64 `json:"host_seconds"`
}

func movesOf(w work) *moves {
	return &moves{w.in, w.out, w.copying.Seconds(), w.hidden.Seconds(), w.host.Seconds()}
}

func (m *moves) work() work {
	if m == nil {
		return work{}
	}
	return work{in: m.In, out: m.Out, copying: inSeconds(m.Copying), hidden: inSeconds(m.Hidden), host: inSeconds(m.Host)}
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// sampleStore is samples.jsonl: every sample is on the disk before the next is taken.
type sampleStore struct {
	path         string
	file         *os.File
	byKey        map[string]*ablateSample
	fingerprints map[string]string // of models, by their path
}

// openSamples opens the samples of a folder, none with restart. A line that a crash has
// cut off is dropped.
func openSamples(dir string, restart bool, log zerolog.Logger) (*sampleStore, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, usage(fmt.Errorf("--out: %w", err))
	}
	s := &sampleStore{path: filepath.Join(dir, "samples.jsonl"), byKey: map[string]*ablateSample{}, fingerprints: map[string]string{}}
	var err error
	if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, usage(fmt.Errorf("--out: %w", err))
	}
	if err := s.begin(dir, restart, log); err != nil {
		return nil, errors.Join(usage(fmt.Errorf("--out: %w", err)), s.file.Close())
	}
	return s, nil
}

// begin makes the folder this call's, for as long as the file is open, and only then
// changes what is in it.
func (s *sampleStore) begin(dir string, restart bool, log zerolog.Logger) error {
	ours, err := lockSamples(s.file)
	if err != nil {
		return fmt.Errorf("locking %s: %w", s.path, err)
	}
	if !ours {
		return fmt.Errorf("another headinfer ablate is writing to %s; wait for it, or name another --out", dir)
	}
	if restart {
		return os.Truncate(s.path, 0)
	}
	return s.read(log)
}

// read takes the whole lines of the file over and cuts the rest off.
func (s *sampleStore) read(log zerolog.Logger) error {
	data, err := io.ReadAll(s.file)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	number := 0
	for line := range bytes.Lines(data[:whole]) {
		number++
		var sample ablateSample
		if err := json.Unmarshal(line, &sample); err != nil || sample.Key == "" {
			return fmt.Errorf("%s:%d is no sample; --restart writes the file anew, or name another --out", s.path, number)
		}
		s.byKey[sample.Key] = &sample
	}
	if whole < len(data) {
		log.Warn().Str("file", s.path).Int("line", number+1).Msg("the last line was cut off, by a crash it seems; it is dropped and measured again")
		// By its name: what only appends may not cut a file off everywhere.
		return os.Truncate(s.path, int64(whole))
	}
	return nil
}

func (s *sampleStore) find(key string) *ablateSample { return s.byKey[key] }

// add writes a sample, and returns when it is on the disk.
func (s *sampleStore) add(sample *ablateSample) error {
	line, err := json.Marshal(sample)
	if err == nil {
		_, err = s.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keeping a sample: %w", err)
	}
	s.byKey[sample.Key] = sample
	return nil
}

func (s *sampleStore) close() error { return s.file.Close() }

// fingerprintOf tells models apart.
func fingerprintOf(path string) (string, error) {
	checkpoint, err := model.Open(path)
	if err != nil {
		return "", err
	}
	text, err := checkpoint.Fingerprint()
	return text, errors.Join(err, checkpoint.Close())
}
