// Command headinfer runs language models over long texts with the key–value
// cache in host memory, one group of attention heads at a time. Each verb has
// a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"headinfer/config"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2 // the command line, the pipeline file, the model or the output
	exitDeadLetters = 3 // finished, and some documents could not be processed
	exitInterrupted = 130
)

// exitError gives an error its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage makes an error one of input.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

func main() { os.Exit(run()) }

func run() int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, cancel)
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if problems := (config.Problems)(nil); errors.As(err, &problems) {
		fmt.Fprintln(os.Stderr, problems)
		return exitUsage
	}
	var coded *exitError
	switch {
	case errors.As(err, &coded):
		fmt.Fprintln(os.Stderr, "headinfer:", coded.err)
		return coded.code
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "headinfer: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "headinfer:", err)
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "headinfer",
		Short:         "Language models over long texts, one attention head at a time",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(noCommand),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
	})
	root.AddCommand(newRun(), newStatus(), newSubmit(), newWork(), newGenerate(), newLint(), newGraph(), newStages(), newPlan(), newBench(), newAblate(), newEval(), newModels(), newKV(), newPull(), newDoctor(), newVersion())
	return root
}

// noCommand refuses what stands where a command should, and says which was meant.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	hint := ""
	if near := config.Nearest(args[0], names); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("unknown command %q%s", args[0], hint)
}

// usageArgs makes a check of arguments give the exit code of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage(fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
		}
		return nil
	}
}
