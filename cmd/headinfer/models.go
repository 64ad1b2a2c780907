package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/model"
)

// modelsOptions are the flags of models.
type modelsOptions struct {
	device, deviceMemory, hostMemory, chunk string
	asJSON                                  bool
}

func newModels() *cobra.Command {
	var o modelsOptions
	models := &cobra.Command{
		Use:   "models [PATH]",
		Short: "List models, or say what a model is and what fits this machine",
		Long: `Without PATH, list the models that can be run: the one that the program carries,
those in the cache that headinfer pull and other programs share, and the shapes
with random weights.

With the PATH of a model, as a pipeline has it, say what it is, and for each
method the longest text that this machine has memory for, by arithmetic: nothing
is loaded. A model of the hub (hf:OWNER/NAME) must be in the cache.

The memory is what is free now, unless --device-memory and --host-memory say
otherwise; runs take what device.memory allows them. --device cuda with
--device-memory plans for a GPU that this machine does not have. On a processor,
the device's memory and the host's are the same. What operators take as
workspace, and a GPU's driver, comes on top: leave some hundred MiB.

Exit code: 0, 2 no such model, or one that is not supported.`,
		Example: `  headinfer models
  headinfer models hf:HuggingFaceTB/SmolLM2-135M-Instruct
  headinfer models random:llama-3-8b --device cuda --device-memory 24GiB --host-memory 512GiB`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var report interface{ print(io.Writer) error }
			var err error
			if len(args) == 0 {
				report, err = listModels(c.Context())
			} else {
				report, err = o.describe(c.Context(), args[0])
			}
			if err != nil {
				return err
			}
			if !o.asJSON {
				return report.print(c.OutOrStdout())
			}
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(report)
		},
	}
	f := models.Flags()
	f.StringVar(&o.device, "device", "auto", "what to plan for: auto, cpu or cuda")
	f.StringVar(&o.deviceMemory, "device-memory", "", "device memory to plan with (default: what is free)")
	f.StringVar(&o.hostMemory, "host-memory", "", "host memory for caches to plan with (default: what is free)")
	f.StringVar(&o.chunk, "chunk", "", "tokens of a prefill's passes (default: the device's)")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	models.AddCommand(newModelsExport())
	return models
}

func newModelsExport() *cobra.Command {
	return &cobra.Command{
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
			_, err := fmt.Fprintln(c.OutOrStdout(), args[1])
			return err
		},
	}
}

// describe says what a model is and what fits.
func (o *modelsOptions) describe(ctx context.Context, path string) (_ *modelFacts, err error) {
	machine, err := o.machine()
	if err != nil {
		return nil, err
	}
	local, err := inCache(ctx, path)
	if err != nil {
		return nil, err
	}
	c, err := model.Open(local)
	if err != nil {
		return nil, usage(err)
	}
	facts := newModelFacts(path, c)
	facts.fit(machine)
	return facts, c.Close()
}

// sizes reads the flags of sizes, of which an empty one says nothing.
func (a *fitAsked) sizes(device, host string) error {
	for _, flag := range []struct {
		name, text string
		into       *int64
	}{{"device-memory", device, &a.device}, {"host-memory", host, &a.host}} {
		if flag.text == "" {
			continue
		}
		b, err := config.ParseBytes(flag.text)
		if err != nil {
			return usage(fmt.Errorf("--%s: %w", flag.name, err))
		}
		if b < 1 {
			return usage(fmt.Errorf("--%s: %d bytes; expected 1 or more", flag.name, b))
		}
		*flag.into = int64(b)
	}
	return nil
}

// machine reads the flags that say what to plan for.
func (o *modelsOptions) machine() (fitMachine, error) {
	asked := fitAsked{kind: o.device}
	if err := asked.sizes(o.deviceMemory, o.hostMemory); err != nil {
		return fitMachine{}, err
	}
	if o.chunk != "" {
		n, err := config.ParseCount(o.chunk)
		if err != nil {
			return fitMachine{}, usage(fmt.Errorf("--chunk: %w", err))
		}
		if n < 1 {
			return fitMachine{}, usage(fmt.Errorf("--chunk: passes of %d tokens; expected 1 or more", n))
		}
		asked.chunk = int(n)
	}
	return newFitMachine(asked)
}
