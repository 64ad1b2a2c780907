package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"headinfer/model"
)

func newModels() *cobra.Command {
	models := &cobra.Command{
		Use:   "models",
		Short: "Do things with models",
		Args:  usageArgs(noCommand),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	models.AddCommand(&cobra.Command{
		Use:   "export builtin DIR",
		Short: "Write the built-in model as a Hugging Face directory",
		Long: `Write the model that the program carries as a directory that other programs
read, too: config.json, tokenizer.json, model.safetensors and its card.`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] != model.Builtin {
				return usage(fmt.Errorf("no model %q to export; there is %q", args[0], model.Builtin))
			}
			if err := model.ExportBuiltin(args[1]); err != nil {
				return usage(err)
			}
			fmt.Fprintln(c.OutOrStdout(), args[1])
			return nil
		},
	})
	return models
}
