package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"headinfer/kernels/cpu/simd"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built for",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version())
			return err
		},
	}
}

// version names the build: the module's version or revision, Go, the platform
// and the kernels that this processor gets.
func version() string {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		revision = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return fmt.Sprintf("headinfer %s %s %s/%s kernels %s", revision, runtime.Version(), runtime.GOOS, runtime.GOARCH, simd.Level())
}
