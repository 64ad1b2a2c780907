package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"headinfer/eval"
	"headinfer/eval/report"
	"headinfer/kernels"
)

// reportFlag adds --report.
func reportFlag(f *pflag.FlagSet, dir *string) {
	f.StringVar(dir, "report", "", "write an HTML page of what was measured, and its pictures as SVG and PNG, into this folder")
}

// checkReport makes the folder of --report, so that one that cannot be written is found
// before the work and not after it.
func checkReport(f *pflag.FlagSet, dir string) error {
	switch {
	case dir == "" && f.Changed("report"):
		return usage(fmt.Errorf("--report: no folder; name one that the page is written to, such as out/report"))
	case dir == "":
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usage(fmt.Errorf("--report: %w", err))
	}
	return nil
}

// writePage writes a report, and says where it is.
func writePage(dir string, p *report.Page, log zerolog.Logger) error {
	_, err := p.Write(dir)
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	log.Info().Str("page", filepath.Join(dir, report.PageFile)).Msg("report written")
	return nil
}

// pageFacts say where, with what and when figures were measured. Empty ones are left out.
func pageFacts(m benchMachine, model, device string, rates *benchRates) (facts []report.Fact) {
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, report.Fact{Name: name, Value: value})
		}
	}
	add("Model", model)
	add("Device", device)
	host := []string{fmt.Sprintf("%d processors", m.Processors)}
	if m.Processor != "" {
		host = append([]string{m.Processor}, host...)
	}
	if m.HostMemory > 0 {
		host = append(host, kernels.FormatBytes(m.HostMemory)+" of host memory")
	}
	add("Host", strings.Join(host, ", "))
	if rates != nil {
		add("Measured rates", fmt.Sprintf("linear layers %s, attention %s; device memory read at %s; copies in %s, out %s",
			flops(rates.Linear), flops(rates.Attention), bandwidth(rates.Read), bandwidth(rates.CopyIn), bandwidth(rates.CopyOut)))
	}
	add("Version", m.Version)
	add("Date", m.Date.Format(time.DateTime)+" UTC")
	return append(facts, report.Fact{Name: "Command", Value: m.Command, Code: true})
}

func flops(v float64) string     { return eval.Scaled(v) + "FLOP/s" }
func bandwidth(v float64) string { return eval.Scaled(v) + "B/s" }

// byteUnit is what sizes of one picture or column are in.
type byteUnit struct {
	name string
	size float64
}

// unitFor returns the unit for sizes of which this is the largest.
func unitFor(largest int64) byteUnit {
	switch {
	case largest >= 1<<30:
		return byteUnit{"GiB", 1 << 30}
	case largest >= 1<<20:
		return byteUnit{"MiB", 1 << 20}
	}
	return byteUnit{"KiB", 1 << 10}
}

func (u byteUnit) of(bytes int64) float64 { return float64(bytes) / u.size }

// cell writes a size to a hundredth; none for 0.
func (u byteUnit) cell(bytes int64) string {
	if bytes == 0 {
		return none
	}
	return strconv.FormatFloat(u.of(bytes), 'f', 2, 64)
}

// figures writes a figure to three digits, without those that say nothing.
func figures(v float64) string {
	switch {
	case v >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v > 0 && v < 0.001:
		return "<0.001"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// purposeNames are what parts of memory are called in pictures.
func purposeNames() (names []string) {
	for _, p := range kernels.Purposes() {
		names = append(names, map[kernels.Purpose]string{
			kernels.KVCache: "keys and values",
		}[p])
		if names[len(names)-1] == "" {
			names[len(names)-1] = string(p)
		}
	}
	return names
}

// counted writes a count with its noun: "1 answer", "3 answers".
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
