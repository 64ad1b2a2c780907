package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/stages"
)

func newStages() *cobra.Command {
	var markdown, schema bool
	c := &cobra.Command{
		Use:   "stages [NAME]",
		Short: "Say which stages there are, or all about one",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			registry, err := stages.Registry()
			if err != nil {
				return err
			}
			docs := registry.Docs()
			out := c.OutOrStdout()
			switch {
			case markdown && schema:
				return usage(errors.New("--markdown and --schema are two different outputs; ask for one"))
			case markdown:
				_, err = out.Write(config.Markdown(docs))
				return err
			case schema:
				text, err := config.Schema(docs)
				if err != nil {
					return err
				}
				_, err = out.Write(text)
				return err
			case len(args) == 1:
				return describe(c, docs, args[0])
			}
			table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			level := config.Level("")
			for _, d := range docs {
				if d.Level != level {
					level = d.Level
					fmt.Fprintf(table, "%s:\n", level)
				}
				fmt.Fprintf(table, "  %s\t%s\t%s\n", d.Name, edges(d), d.Doc)
			}
			return table.Flush()
		},
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "write the documentation page")
	c.Flags().BoolVar(&schema, "schema", false, "write the JSON schema of pipeline files")
	return c
}

func edges(d config.StageDoc) string {
	switch {
	case d.In == "":
		return "→ " + d.Out
	case d.Out == "":
		return d.In + " →"
	}
	return d.In + " → " + d.Out
}

func describe(c *cobra.Command, docs []config.StageDoc, name string) error {
	var names []string
	found := false
	for _, d := range docs {
		names = append(names, d.Name)
		if d.Name == name {
			found = true
			if _, err := fmt.Fprint(c.OutOrStdout(), config.Text(d)); err != nil {
				return err
			}
		}
	}
	if found {
		return nil
	}
	hint := ""
	if near := config.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", near)
	}
	return usage(fmt.Errorf("no stage is called %q; %ssee `headinfer stages` for all of them", name, hint))
}
