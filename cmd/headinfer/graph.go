package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"headinfer/graph"
)

func newGraph() *cobra.Command {
	var o overrides
	var format string
	c := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a pipeline's dataflow as Mermaid, DOT or SVG",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := o.load(args[0])
			if err != nil {
				return err
			}
			if format == "svg" {
				return flowPicture(p, nil, nil, 0).SVG(c.OutOrStdout())
			}
			picture, err := graph.Draw(p.documents, p.heads, graph.Format(format))
			if err != nil {
				return usage(fmt.Errorf("--format %s: expected mermaid, dot or svg", format))
			}
			_, err = fmt.Fprint(c.OutOrStdout(), picture)
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "mermaid", "mermaid, dot or svg")
	o.flags(c)
	return c
}
