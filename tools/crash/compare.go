package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// What is tried to have an undisturbed run give an answer that the disturbed one gave.
const (
	tieRounds     = 12
	tieCompanions = 24  // other documents in each
	tieShare      = 100 // of so many documents one may have to be tried
)

// answer is what must be the same in a record; times are not.
type answer struct {
	ID           string `json:"id"`
	Question     string `json:"question"`
	Answer       string `json:"answer"`
	Stop         string `json:"stop"`
	PromptTokens int    `json:"prompt_tokens"`
	AnswerTokens int    `json:"answer_tokens"`
}

// compare holds the disturbed output to the undisturbed one.
func (t *trial) compare(ctx context.Context) error {
	want, err := answers(filepath.Join(t.dir, "undisturbed.jsonl"))
	if err != nil {
		return err
	}
	got, err := answers(filepath.Join(t.dir, "disturbed.jsonl"))
	if err != nil {
		return err
	}
	sameID := func(a, b answer) bool { return a.ID == b.ID }
	if all := t.documents - t.empty; len(want) != all || !slices.EqualFunc(want, got, sameID) {
		return fmt.Errorf("%w: %d records disturbed and %d undisturbed, of %d, or in another order", errDiffers, len(got), len(want), all)
	}
	other := map[string]answer{} // the disturbed run's answers that differ
	for i, a := range want {
		if got[i] != a {
			other[a.ID] = got[i]
		}
	}
	all := len(other)
	if all > 0 && all <= max(t.documents/tieShare, 1) {
		if err := t.ties(ctx, other); err != nil {
			return err
		}
	}
	for _, a := range want {
		if b, differs := other[a.ID]; differs {
			fmt.Printf("  %+v, undisturbed %+v\n", b, a)
		}
	}
	fmt.Printf("%d records undisturbed, %d disturbed, all whole, keys distinct and in order; %d near ties, %d answers differ\n",
		len(want), len(got), all-len(other), len(other))
	if len(other) > 0 {
		return errDiffers
	}
	return nil
}

// ties takes out of some answers those that an undisturbed run gives too, if it reads the documents beside others or by
// themselves.
func (t *trial) ties(ctx context.Context, other map[string]answer) error {
	data, err := os.ReadFile(filepath.Join(t.dir, "documents.jsonl"))
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(bytes.TrimSpace(data), []byte("\n"))
	r := rand.New(rand.NewPCG(t.seed, 3))
	for round := 0; round < tieRounds && len(other) > 0; round++ {
		var again [][]byte
		for _, line := range lines {
			var d struct{ ID string }
			if err := json.Unmarshal(line, &d); err != nil {
				return err
			}
			if _, differs := other[d.ID]; differs || r.IntN(len(lines)) < tieCompanions {
				again = append(again, append(bytes.TrimSpace(line), '\n'))
			}
		}
		r.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if err := os.WriteFile(filepath.Join(t.dir, "again.in.jsonl"), bytes.Join(again, nil), 0o644); err != nil {
			return err
		}
		flags := []string{"--restart", "--set", "documents.read-jsonl.path=again.in.jsonl", "--set", "documents.jsonl.path=again.jsonl"}
		if round%4 == 0 {
			flags = append(flags, "--set", "documents.chunked-prefill.batch=1")
		}
		// With an exit code of its own for documents without text, of which there may be some.
		if out, err := t.command(ctx, flags...).CombinedOutput(); err != nil && !bytes.Contains(out, []byte("could not be processed")) {
			return fmt.Errorf("trying for near ties: %w: %s", err, out)
		}
		now, err := answers(filepath.Join(t.dir, "again.jsonl"))
		if err != nil {
			return err
		}
		for _, a := range now {
			if other[a.ID] == a {
				delete(other, a.ID)
			}
		}
	}
	return nil
}

// answers reads an output. A record that is not whole, or a key that is there twice, is an error.
func answers(path string) ([]answer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Join(errDiffers, err)
	}
	var all []answer
	seen := map[string]bool{}
	for number, line := range bytes.SplitAfter(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
			return nil, fmt.Errorf("%w: %s:%d is not whole: %q", errDiffers, path, number+1, line)
		}
		if seen[a.ID] {
			return nil, fmt.Errorf("%w: %s:%d: %q is there twice", errDiffers, path, number+1, a.ID)
		}
		seen[a.ID] = true
		all = append(all, a)
	}
	return all, nil
}
