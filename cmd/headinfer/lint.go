package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newLint() *cobra.Command {
	var o overrides
	c := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Check pipeline files",
		Args:  usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			bad := 0
			for _, path := range args {
				if _, err := o.load(path); err != nil {
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
