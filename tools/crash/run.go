package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	if err := t.complete(t.command(ctx, "--set", "documents.jsonl.path=undisturbed.jsonl")); err != nil {
		return fmt.Errorf("the undisturbed run: %w", err)
	}
	took := time.Since(began)
	fmt.Printf("undisturbed: %v, %.1f documents a second\n", took.Round(time.Millisecond), float64(t.documents)/took.Seconds())

	began = time.Now()
	if err := t.disturb(ctx, took); err != nil {
		return err
	}
	fmt.Printf("disturbed: %v\n", time.Since(began).Round(time.Millisecond))
	return t.compare(ctx)
}

func (t *trial) command(ctx context.Context, flags ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, t.program, append([]string{"run", "pipeline.yaml", "--json"}, flags...)...)
	c.Dir = t.dir
	return c
}

// complete runs a run to its end, at which the documents without text are in the dead letters.
func (t *trial) complete(c *exec.Cmd) error {
	want := 0
	if t.empty > 0 {
		want = 3
	}
	if out, err := c.CombinedOutput(); c.ProcessState == nil || c.ProcessState.ExitCode() != want {
		return fmt.Errorf("%w, expected exit code %d: %s", err, want, out)
	}
	return nil
}

// records are how many the disturbed run has committed.
func (t *trial) records(ctx context.Context) (int, error) {
	if _, err := os.Stat(filepath.Join(t.dir, "disturbed.jsonl.run")); errors.Is(err, os.ErrNotExist) {
		return 0, nil // killed before it had begun
	}
	c := exec.CommandContext(ctx, t.program, "status", "disturbed.jsonl", "--json")
	c.Dir = t.dir
	out, err := c.Output()
	if err != nil {
		return 0, fmt.Errorf("%w: headinfer status: %w: %s", errDiffers, err, out)
	}
	var all []struct{ Records int }
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		return 0, fmt.Errorf("headinfer status says %s, %w", out, err)
	}
	return all[0].Records, nil
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
		if code := c.ProcessState.ExitCode(); code == 0 || code == 3 {
			if kill == 0 {
				return errors.New("the run was complete before it was killed; take more documents")
			}
			fmt.Printf("  complete before kill %d\n", kill+1)
			return nil
		}
		if c.ProcessState.ExitCode() > 1 || errOut.Len() > 0 && bytes.Contains(errOut.Bytes(), []byte("headinfer: ")) {
			return fmt.Errorf("%w: run %d ended by itself: %w: %s", errDiffers, kill+1, err, &errOut)
		}
		now, err := t.records(ctx)
		if err != nil {
			return err
		}
		if now < records {
			return fmt.Errorf("%w: %d records after kill %d, and %d before", errDiffers, now, kill+1, records)
		}
		records = now
		fmt.Printf("  kill %2d after %8v: %d records\n", kill+1, wait.Round(time.Millisecond), records)
	}
	if err := t.complete(t.command(ctx)); err != nil {
		return fmt.Errorf("%w: the last run: %w", errDiffers, err)
	}
	return nil
}
