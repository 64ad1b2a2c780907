package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"headinfer/kernels"
	"headinfer/stages"
	"headinfer/stages/journal"
)

func newStatus() *cobra.Command {
	var o overrides
	var asJSON bool
	c := &cobra.Command{
		Use:   "status FILE|OUTPUT",
		Short: "Say how far a run is",
		Long: `Say how far the run of a pipeline, or of one output, is: also while a process is
at it, and after one was killed.`,
		Example: `  headinfer status pipeline.yaml
  headinfer status out/answers.jsonl`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			paths, err := outputsOf(&o, args[0])
			if err != nil {
				return err
			}
			all := make([]journal.Status, len(paths))
			for i, path := range paths {
				all[i], err = journal.ReadStatus(path)
				if errors.Is(err, os.ErrNotExist) {
					return usage(fmt.Errorf("%s: no run has written it; headinfer run does", path))
				}
				if err != nil {
					return usage(err)
				}
			}
			return printStatus(c.OutOrStdout(), all, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	o.flags(c)
	return c
}

// outputsOf returns the outputs that a name stands for: a pipeline's, or itself.
func outputsOf(o *overrides, name string) ([]string, error) {
	if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
		for _, suffix := range []string{".run", ".partial", ".records", ".run.status"} {
			if path, ok := strings.CutSuffix(name, suffix); ok {
				return []string{path}, nil
			}
		}
		return []string{name}, nil
	}
	p, err := o.load(name)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, out := range stages.Outputs(p.Pipeline) {
		if out.Journaled {
			paths = append(paths, out.Path)
		}
	}
	if len(paths) == 0 {
		return nil, usage(fmt.Errorf("%s: none of its outputs keeps a state; with mode: resume they do", name))
	}
	return paths, nil
}

func printStatus(w io.Writer, all []journal.Status, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\n", s.Path, condition(s))
		fmt.Fprintf(t, "  records\t%d, %s\n", s.Records, kernels.FormatBytes(s.Bytes))
		fmt.Fprintf(t, "  dead letters\t%d\n", s.Failed)
		fmt.Fprintf(t, "  begun\t%s\n", moment(s.Started))
		fmt.Fprintf(t, "  last session\t%s\n", session(s))
		fmt.Fprintf(t, "  last commit\t%s\n", moment(s.Committed))
	}
	return t.Flush()
}

// condition says in words where a run stands.
func condition(s journal.Status) string {
	switch {
	case s.Running:
		return fmt.Sprintf("running, process %d", s.Process)
	case s.Complete:
		return "complete"
	case s.Finished:
		return fmt.Sprintf("finished without %d documents; run again to try these", s.Failed)
	}
	return "stopped; run again to go on"
}

func session(s journal.Status) string {
	text := fmt.Sprintf("%d records since %s", s.Records-s.Session.Before, moment(s.Session.Started))
	if rate := s.Rate(); rate > 0 {
		text += fmt.Sprintf(", %.3g a second", rate)
	}
	return text
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Local().Format(time.DateTime)
}
