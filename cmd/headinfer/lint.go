package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"headinfer/config/matrix"
)

func newLint() *cobra.Command {
	var o overrides
	c := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Check pipeline files and matrices of ablations",
		Args:  usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			bad := 0
			for _, path := range args {
				if err := o.lint(path); err != nil {
					var coded *exitError
					if !errors.As(err, &coded) {
						return err
					}
					fmt.Fprintln(c.ErrOrStderr(), coded.err)
					bad++
				}
			}
			if bad > 0 {
				return usage(fmt.Errorf("%d of %d files have problems", bad, len(args)))
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%d files, no problems\n", len(args))
			return err
		},
	}
	o.flags(c)
	return c
}

// lint checks a pipeline file, or a matrix.
func (o *overrides) lint(path string) error {
	if src, err := os.ReadFile(path); err == nil && matrix.Looks(src) {
		_, err := loadMatrix(path, src, o.all())
		return err
	}
	_, err := o.load(path)
	return err
}
