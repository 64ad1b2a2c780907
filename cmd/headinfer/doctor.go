package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look at the machine: what runs will find here, and how fast it is",
		Long: `Look at the build, the GPU and its driver, the link to it, and host memory, and
measure the rates that runs are bound by. Each line says ok, warn (it works, and
something would make it better) or fail (with what to do about it). It takes a
few seconds and up to 4 GiB of host memory. Exit code: 0, or 1 if a line says fail.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			report := examine()
			if err := report.print(c.OutOrStdout(), asJSON); err != nil {
				return err
			}
			return report.failed()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// mark says whether a finding needs attention.
type mark string

const (
	markOK   mark = "ok"
	markWarn mark = "warn" // it works, and something would make it better
	markFail mark = "fail"
)

// finding is one line of the doctor's report.
type finding struct {
	Subject string `json:"subject"`
	Mark    mark   `json:"mark"`
	Found   string `json:"found"`
	Do      string `json:"do,omitempty"` // what to do, unless all is well
}

func fine(subject, format string, args ...any) finding {
	return finding{Subject: subject, Mark: markOK, Found: fmt.Sprintf(format, args...)}
}

// needs marks a finding that something has to be done about.
func (f finding) needs(m mark, do string) finding {
	f.Mark, f.Do = m, do
	return f
}

// doctorReport is what doctor prints: the findings, and what they follow from.
type doctorReport struct {
	Findings []finding `json:"findings"`
	examination
}

// examine looks at the machine.
func examine() doctorReport {
	e := newExamination()
	return doctorReport{Findings: e.findings(), examination: e}
}

func (r *doctorReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Mark, f.Subject, f.Found)
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", f.Do)
		}
	}
	return t.Flush()
}

// failed returns an error if a finding is a failure.
func (r *doctorReport) failed() error {
	var subjects []error
	for _, f := range r.Findings {
		if f.Mark == markFail {
			subjects = append(subjects, fmt.Errorf("%s: %s", f.Subject, f.Found))
		}
	}
	return errors.Join(subjects...)
}
