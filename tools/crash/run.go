package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// run runs the pipeline undisturbed and disturbed, compares, and prints a summary.
func (t *trial) run(ctx context.Context) error {
	fmt.Printf("seed %d, %d documents, in %s\n", t.seed, t.documents, t.dir)
	began := time.Now()
	if out, err := t.command(ctx, "--set", "documents.jsonl.path=undisturbed.jsonl").CombinedOutput(); err != nil {
		return fmt.Errorf("the undisturbed run: %w: %s", err, out)
	}
	took := time.Since(began)
	fmt.Printf("undisturbed: %v, %.1f documents a second\n", took.Round(time.Millisecond), float64(t.documents)/took.Seconds())

	began = time.Now()
	if err := t.disturb(ctx, took); err != nil {
		return err
	}
	fmt.Printf("disturbed: %v\n", time.Since(began).Round(time.Millisecond))
	return t.compare()
}

func (t *trial) command(ctx context.Context, flags ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, t.program, append([]string{"run", "pipeline.yaml", "--json"}, flags...)...)
	c.Dir = t.dir
	return c
}

// disturb kills the run as often as it is to be killed, at instants spread over the time that one takes, and lets the last
// come to its end.
func (t *trial) disturb(ctx context.Context, took time.Duration) error {
	r := rand.New(rand.NewPCG(t.seed, 2))
	records := 0
	for kill := range t.kills {
		var errOut bytes.Buffer
		c := t.command(ctx)
		c.Stderr = &errOut
		if err := c.Start(); err != nil {
			return err
		}
		wait := time.Duration(r.Int64N(int64(2 * took / time.Duration(t.kills+1))))
		timer := time.AfterFunc(wait, func() { _ = c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		if err == nil {
			fmt.Printf("  complete before kill %d\n", kill+1)
			return nil
		}
		if c.ProcessState.ExitCode() > 1 || errOut.Len() > 0 && bytes.Contains(errOut.Bytes(), []byte("headinfer: ")) {
			return fmt.Errorf("%w: run %d ended by itself: %w: %s", errDiffers, kill+1, err, &errOut)
		}
		data, err := os.ReadFile(filepath.Join(t.dir, "disturbed.jsonl.partial"))
		if err == nil {
			now := bytes.Count(data, []byte("\n"))
			if now < records {
				return fmt.Errorf("%w: %d records after kill %d, and %d before", errDiffers, now, kill+1, records)
			}
			records = now
		}
		fmt.Printf("  kill %2d after %8v: %d records\n", kill+1, wait.Round(time.Millisecond), records)
	}
	if out, err := t.command(ctx).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: the last run: %w: %s", errDiffers, err, out)
	}
	return nil
}

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
func (t *trial) compare() error {
	want, err := answers(filepath.Join(t.dir, "undisturbed.jsonl"))
	if err != nil {
		return err
	}
	got, err := answers(filepath.Join(t.dir, "disturbed.jsonl"))
	if err != nil {
		return err
	}
	other := 0
	for id, a := range want {
		if got[id] == a {
			continue
		}
		if other++; other <= 5 {
			fmt.Printf("  %s: %+v, undisturbed %+v\n", id, got[id], a)
		}
	}
	fmt.Printf("%d records undisturbed, %d disturbed, all whole, keys distinct; %d answers differ\n", len(want), len(got), other)
	if len(want) != t.documents || len(got) != t.documents || other > 0 {
		return errDiffers
	}
	return nil
}

// answers reads an output. A record that is not whole, or a key that is there twice, is an error.
func answers(path string) (map[string]answer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := map[string]answer{}
	for number, line := range bytes.SplitAfter(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
			return nil, fmt.Errorf("%w: %s:%d is not whole: %q", errDiffers, path, number+1, line)
		}
		if _, twice := all[a.ID]; twice {
			return nil, fmt.Errorf("%w: %s:%d: %q is there twice", errDiffers, path, number+1, a.ID)
		}
		all[a.ID] = a
	}
	return all, nil
}
