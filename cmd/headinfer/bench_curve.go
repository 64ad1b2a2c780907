package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"headinfer/eval"
	"headinfer/plan"
)

// curveContexts are those of --curve where --context names none.
var curveContexts = []string{"1Ki", "2Ki", "4Ki", "8Ki", "16Ki", "32Ki", "64Ki", "128Ki", "256Ki"}

// allow leaves out contexts past the model's.
func (o *benchOptions) allow(most int) {
	for len(o.contexts) > 1 && o.contexts[len(o.contexts)-1] > most-o.decode {
		o.contexts = o.contexts[:len(o.contexts)-1]
	}
}

// checkCurve refuses what cannot be drawn together, and makes the folder.
func (o *benchOptions) checkCurve(all []benchPipeline) error {
	if !o.limits {
		return errors.New("--limits=false: the lines that --curve draws are of the limits; leave it out")
	}
	if len(o.weights) > 0 {
		return errors.New("--weights: a curve is of one model, and each encoding is another; give --curve one at a time, with --model random:NAME?dtype=ENCODING")
	}
	for _, p := range all {
		if p.Model.Path != all[0].Model.Path {
			return fmt.Errorf("%s: its model is %s, and that of %s is %s; --curve draws one model: give --model", p.name, p.Model.Path, all[0].name, all[0].Model.Path)
		}
	}
	if err := os.MkdirAll(o.curve, 0o755); err != nil {
		return fmt.Errorf("--curve: %w", err)
	}
	return nil
}

// curveFile is curve.json.
type curveFile struct {
	Machine benchMachine  `json:"machine"`
	Model   string        `json:"model"`
	Device  string        `json:"device"`
	Rates   *benchRates   `json:"rates,omitempty"`
	Methods []curveMethod `json:"methods"`
	Limits  []curveLine   `json:"limits"`
}

// curveMethod is a method's times by context.
type curveMethod struct {
	Name   string       `json:"method"`
	Lossy  []string     `json:"lossy,omitempty"`
	Points []curvePoint `json:"points"`
}

// curvePoint is a context: times, or why there are none.
type curvePoint struct {
	Context int        `json:"context_tokens"`
	Chunk   int        `json:"chunk_tokens,omitempty"`
	OnHost  bool       `json:"cache_on_host"`
	Prefill *curveTime `json:"prefill,omitempty"`
	Decode  *curveTime `json:"decode_a_token,omitempty"`
	Error   string     `json:"error,omitempty"`
}

// curveTime is a time beside its limit, if there is one.
type curveTime struct {
	Seconds float64 `json:"seconds"`
	Limit   float64 `json:"limit_seconds,omitempty"`
	Share   float64 `json:"of_limit,omitempty"` // of the limit's speed
	Bound   string  `json:"bound_by,omitempty"`
}

// curveLine is the least time by context.
type curveLine struct {
	Phase  string       `json:"phase"` // prefill or decode
	Name   string       `json:"limit"`
	Points [][2]float64 `json:"tokens_and_seconds"`
}

// curves gathers what is drawn.
func (r *benchReport) curves() *curveFile {
	f := &curveFile{Machine: r.Machine, Rates: r.Rates, Methods: []curveMethod{}, Limits: r.curveLines()}
	for _, row := range r.Rows {
		at := slices.IndexFunc(f.Methods, func(m curveMethod) bool { return m.Name == row.Pipeline })
		if at < 0 {
			at = len(f.Methods)
			f.Methods = append(f.Methods, curveMethod{Name: row.Pipeline, Lossy: row.Lossy})
		}
		if row.Model != "" {
			f.Model, f.Device = row.Model, row.Device
		}
		f.Methods[at].Points = append(f.Methods[at].Points, curvePoint{
			Context: row.Context, Chunk: row.Chunk, OnHost: row.how.OnHost, Error: row.Error,
			Prefill: timeOf(row.Prefill, "arithmetic"), Decode: timeOf(row.Decode, "device memory"),
		})
	}
	return f
}

// timeOf is a phase's time; its limit is the link's, or what the device computes or
// reads.
func timeOf(p *benchPhase, device string) *curveTime {
	if p == nil {
		return nil
	}
	t := &curveTime{Seconds: p.Seconds}
	if l := p.Limit; l != nil {
		t.Limit, t.Share, t.Bound = l.Seconds, l.Share, device
		if l.Copy > l.Compute {
			t.Bound = "link"
		}
	}
	return t
}

// curveLines computes the lines of the limits over the contexts that were asked for:
// arithmetic for prefill, and for decode the bytes, from where the methods keep them.
func (r *benchReport) curveLines() []curveLine {
	lines := []curveLine{}
	if r.Rates == nil || len(r.Rows) == 0 {
		return lines
	}
	least, most := r.Rows[0].Context, map[string]int{}
	for _, row := range r.Rows {
		least, most["decode"] = min(least, row.Context), max(most["decode"], row.Context)
		if !row.Filled {
			most["prefill"] = max(most["prefill"], row.Context)
		}
	}
	add := func(phase, name string, seconds func(context int) float64) {
		if slices.ContainsFunc(lines, func(l curveLine) bool { return l.Phase == phase && l.Name == name }) {
			return
		}
		l := curveLine{Phase: phase, Name: name}
		for _, n := range spread(least, most[phase]) {
			if s := seconds(n); s > 0 {
				l.Points = append(l.Points, [2]float64{float64(n), s})
			}
		}
		lines = append(lines, l)
	}
	rates := r.Rates.plan()
	for _, row := range r.Rows {
		m, how := row.model, row.how
		if row.Prefill != nil && row.Prefill.Limit != nil {
			add("prefill", "arithmetic", func(n int) float64 { return m.PrefillLimit(rates, n, 0, 0).Compute })
		}
		if row.Decode != nil && row.Decode.Limit != nil {
			add("decode", decodeLimitName(how, rates), func(n int) float64 { return m.DecodeLimit(rates, n, m.DecodeCopies(how, n)).Seconds() })
		}
	}
	return lines
}

// decodeLimitName says where a method's cache comes from, and how fast.
func decodeLimitName(how plan.Method, r plan.Rates) string {
	if !how.OnHost {
		return "device memory, " + number(r.Read/1e9) + " GB/s"
	}
	name := "link, " + number(r.CopyIn/1e9) + " GB/s"
	if how.Bits > 0 {
		name += fmt.Sprintf(", %d-bit codes", how.Bits)
	}
	return name
}

// spread returns whole numbers from one to another, each larger than the one before
// by about the same factor.
func spread(from, to int) []int {
	const most = 48
	var all []int
	for i := range most + 1 {
		all = append(all, int(math.Round(float64(from)*math.Pow(float64(to)/float64(from), float64(i)/most))))
	}
	return slices.Compact(all)
}

// drawing returns the figures as they are drawn.
func (f *curveFile) drawing() eval.Curves {
	c := eval.Curves{Title: f.Model, Note: f.Device}
	for _, phase := range []struct {
		name, title string
		of          func(curvePoint) *curveTime
	}{
		{"prefill", "prefill, seconds", func(p curvePoint) *curveTime { return p.Prefill }},
		{"decode", "decode, seconds a token", func(p curvePoint) *curveTime { return p.Decode }},
	} {
		panel := eval.Panel{Title: phase.title}
		for _, m := range f.Methods {
			s := eval.Series{Name: m.Name}
			if len(m.Lossy) > 0 {
				s.Name += " (lossy)"
			}
			for _, p := range m.Points {
				if t := phase.of(p); t != nil {
					s.Points = append(s.Points, eval.Point{Tokens: float64(p.Context), Seconds: t.Seconds})
				}
			}
			if len(s.Points) > 0 {
				panel.Series = append(panel.Series, s)
			}
		}
		if len(panel.Series) == 0 {
			continue
		}
		for _, l := range f.Limits {
			if l.Phase != phase.name {
				continue
			}
			s := eval.Series{Name: "limit: " + l.Name, Limit: true}
			for _, p := range l.Points {
				s.Points = append(s.Points, eval.Point{Tokens: p[0], Seconds: p[1]})
			}
			panel.Series = append(panel.Series, s)
		}
		c.Panels = append(c.Panels, panel)
	}
	return c
}

// draw writes the curves' files into a folder.
func (r *benchReport) draw(dir string, log zerolog.Logger) error {
	f := r.curves()
	c := f.drawing()
	if len(c.Panels) == 0 {
		return nil // why rows have no figures is said with them
	}
	var all error
	var names []string
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{{"curve.svg", c.SVG}, {"curve.png", c.PNG}, {"curve.json", f.json}, {"curve.md", f.markdown}} {
		path := filepath.Join(dir, file.name)
		if err := writeFile(path, file.write); err != nil {
			all = errors.Join(all, fmt.Errorf("--curve: %w", err))
			continue
		}
		names = append(names, path)
	}
	log.Info().Str("files", strings.Join(names, " ")).Msg("curves drawn")
	return all
}
