package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"headinfer/kernels"
	"headinfer/transfer"
)

func newKV() *cobra.Command {
	c := &cobra.Command{
		Use:   "kv",
		Short: "List, remove and check kept caches (snapshots)",
		Long: `The caches of texts that have been read are kept in a directory, if
documents.chunked-prefill.snapshot.dir names one, and loaded instead of reading
the same beginning again.`,
		Args: usageArgs(noCommand),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newKVList(), newKVRemove(), newKVVerify())
	return c
}

func newKVList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls DIR",
		Short: "List snapshots, the last used first",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := chosenSnapshots(args[0], nil)
			if err != nil {
				return err
			}
			return listSnapshots(c.OutOrStdout(), all, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newKVRemove() *cobra.Command {
	var all bool
	var unused time.Duration
	c := &cobra.Command{
		Use:   "rm DIR [KEY...]",
		Short: "Remove snapshots",
		Long: `Remove snapshots by the first letters of their keys, or those that have not been
used for some time, or all. A run that is reading one reads it to its end.`,
		Example: `  headinfer kv rm out/kv 3f2a
  headinfer kv rm out/kv --unused 720h
  headinfer kv rm out/kv --all`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if ways := btoi(all) + btoi(unused > 0) + btoi(len(args) > 1); ways != 1 {
				return usage(errors.New("say what to remove: keys, --unused or --all"))
			}
			chosen, err := chosenSnapshots(args[0], args[1:])
			if err != nil {
				return err
			}
			if all {
				if err := transfer.RemoveUnfinished(args[0], 0); err != nil {
					return err
				}
			}
			for _, f := range chosen {
				if unused > 0 && time.Since(f.Used) < unused {
					continue
				}
				if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				if _, err := fmt.Fprintln(c.OutOrStdout(), f.Key); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "remove all, and what was left unfinished")
	c.Flags().DurationVar(&unused, "unused", 0, "remove those that have not been used for so long, such as 720h")
	return c
}

func newKVVerify() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify DIR [KEY...]",
		Short: "Read snapshots and compare their checksums",
		Long: `Read all of each snapshot, or of those whose keys begin with the given letters,
and compare every byte with its layout and its checksums.

Exit code: 0 all are whole, 1 some are damaged, 2 no such directory or key.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			chosen, err := chosenSnapshots(args[0], args[1:])
			if err != nil {
				return err
			}
			return verifySnapshots(c.Context(), c.OutOrStdout(), chosen, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// chosenSnapshots lists a directory's snapshots whose keys begin as some do, or all,
// the last used first.
func chosenSnapshots(dir string, keys []string) ([]transfer.SnapshotFile, error) {
	all, err := transfer.ListSnapshots(dir)
	if err != nil {
		return nil, usage(err)
	}
	slices.SortStableFunc(all, func(a, b transfer.SnapshotFile) int { return b.Used.Compare(a.Used) })
	if len(keys) == 0 {
		return all, nil
	}
	var chosen []transfer.SnapshotFile
	for _, key := range keys {
		found := 0
		for _, f := range all {
			if strings.HasPrefix(f.Key, key) {
				chosen = append(chosen, f)
				found++
			}
		}
		switch {
		case found == 0:
			return nil, usage(fmt.Errorf("%s: no snapshot whose key begins with %q", dir, key))
		case found > 1:
			return nil, usage(fmt.Errorf("%s: %d snapshots have keys that begin with %q; give more of it", dir, found, key))
		}
	}
	return chosen, nil
}

func listSnapshots(w io.Writer, all []transfer.SnapshotFile, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if all == nil {
			all = []transfer.SnapshotFile{}
		}
		return e.Encode(all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no snapshots")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tMODEL\tTOKENS\tSIZE\tUSED\tBEGINS") // Flush reports what fails
	var bytes int64
	for _, f := range all {
		bytes += f.Bytes
		model, begins := f.Model+" "+f.DType, oneLine(f.Begins)
		if f.Damaged != "" {
			model, begins = "(damaged)", f.Damaged
		}
		fmt.Fprintf(table, "%.12s\t%s\t%d\t%s\t%s\t%s\n", f.Key, model, f.Tokens, kernels.FormatBytes(f.Bytes), ago(f.Used), begins)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d snapshots, %s\n", len(all), kernels.FormatBytes(bytes))
	return err
}

// oneLine shortens a text's first words to what a table has room for.
func oneLine(text string) string {
	const most = 40
	words := []rune(strings.Join(strings.Fields(text), " "))
	if len(words) > most {
		return string(words[:most]) + "…"
	}
	return string(words)
}

// ago says when something was, roughly.
func ago(t time.Time) string {
	switch d := time.Since(t); {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}

// verifySnapshots checks some and says of each what came out.
func verifySnapshots(ctx context.Context, w io.Writer, all []transfer.SnapshotFile, asJSON bool) error {
	damaged := 0
	for i := range all {
		f := &all[i]
		if f.Damaged == "" {
			err := verifySnapshot(ctx, f.Path)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				f.Damaged = err.Error()
			}
		}
		if f.Damaged != "" {
			damaged++
		}
		if asJSON {
			continue
		}
		line := f.Key + "  whole"
		if f.Damaged != "" {
			line = f.Key + "  " + f.Damaged
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	if asJSON {
		if err := listSnapshots(w, all, true); err != nil {
			return err
		}
	}
	if damaged > 0 {
		return fmt.Errorf("%d of %d snapshots are damaged; remove them with headinfer kv rm", damaged, len(all))
	}
	return nil
}

func verifySnapshot(ctx context.Context, path string) error {
	s, err := transfer.OpenSnapshot(path)
	if err != nil {
		return err
	}
	return errors.Join(s.Verify(ctx), s.Close())
}

// Snapshot warns that a snapshot of a document is not used, or not kept.
func (p *progress) Snapshot(document string, err error) {
	log := newLogger(p.out)
	log.Warn().Str("document", document).Err(err).Msg("snapshot")
}
