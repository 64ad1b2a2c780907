package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// forcedReport is what perplexity prints. Times are in seconds.
type forcedReport struct {
	Machine benchMachine     `json:"machine"`
	Model   string           `json:"model"`
	Random  bool             `json:"random_weights"`
	Device  string           `json:"device"`
	Seed    uint64           `json:"seed"`
	Forced  int              `json:"forced"` // tokens of each text
	Methods []evalMethodName `json:"methods"`
	Rows    []forcedRow      `json:"perplexity"`
	Files   []string         `json:"files"`
}

// forcedRow is what a method makes of the texts of a length: figures, or Error.
type forcedRow struct {
	Method string `json:"method"`
	Tokens int    `json:"tokens"` // asked for
	Texts  int    `json:"texts"`  // measured
	Error  string `json:"error,omitempty"`
	forcedFigures
	Seconds float64 `json:"seconds"`
}

// forcedRecord is a line of samples.jsonl: one text.
type forcedRecord struct {
	Method     string `json:"method"`
	Task       string `json:"task"`
	Tokens     int    `json:"tokens"`      // asked for
	TextTokens int    `json:"text_tokens"` // those forced included
	Seed       uint64 `json:"seed"`
	forcedFigures
	Seconds float64 `json:"seconds"`
}

// forcedFigures are those of forced tokens; nil is what cannot be said.
type forcedFigures struct {
	ForcedTokens     int            `json:"forced_tokens"`
	AnswerTokens     int            `json:"answer_tokens"` // of these
	Perplexity       *float64       `json:"perplexity,omitempty"`
	AnswerPerplexity *float64       `json:"answer_perplexity,omitempty"`
	Against          *forcedAgainst `json:"against_first,omitempty"` // nil for the first method
}

// forcedAgainst compares a method's logits with the first method's.
type forcedAgainst struct {
	Divergence float64 `json:"kl"` // mean, nats
	// LogitError is the largest, in standard deviations of the step's logits; nil if
	// these were all the same at a step.
	LogitError *float64 `json:"logit_error,omitempty"`
	SameToken  float64  `json:"same_token"` // share of steps with the same most likely token
}

// figures are what the sums come to.
func (s forcedSums) figures() forcedFigures {
	f := forcedFigures{ForcedTokens: s.tokens, AnswerTokens: s.answerTokens}
	perplexity := func(loss float64, tokens int) *float64 {
		p := math.Exp(loss / float64(tokens))
		if tokens == 0 || !finite(p) {
			return nil
		}
		return &p
	}
	f.Perplexity, f.AnswerPerplexity = perplexity(s.loss, s.tokens), perplexity(s.answerLoss, s.answerTokens)
	if s.compared > 0 {
		n := float64(s.compared)
		f.Against = &forcedAgainst{Divergence: s.divergence / n, SameToken: float64(s.same) / n}
		if finite(s.error) {
			f.Against.LogitError = &s.error
		}
	}
	return f
}

// log tells a person who waits how far it is.
func (r forcedRow) log(log zerolog.Logger) {
	e := log.Info().Str("method", r.Method).Int("tokens", r.Tokens)
	if r.Error != "" {
		e.Str("error", r.Error).Msg("not measured")
		return
	}
	if r.Perplexity != nil {
		e = e.Float64("perplexity", *r.Perplexity)
	}
	e.Int("texts", r.Texts).Float64("s", r.Seconds).Msg("measured")
}

// print writes the report for a person.
func (r *forcedReport) print(w io.Writer) error {
	var out strings.Builder
	r.table().write(&out)
	out.WriteByte('\n')
	if len(r.Methods) > 1 {
		fmt.Fprintf(&out, "divergence, logit error and same token: beside %s\n", r.Methods[0].Name)
	}
	if r.Model != "" {
		fmt.Fprintf(&out, "model: %s\n", r.Model)
	}
	fmt.Fprintf(&out, "machine: %s\n", r.Machine)
	if r.Device != "" {
		fmt.Fprintf(&out, "device: %s\n", r.Device)
	}
	for _, m := range r.Methods {
		for _, what := range m.Lossy {
			fmt.Fprintf(&out, "%s is lossy: %s\n", m.Name, what)
		}
	}
	for _, file := range r.Files {
		fmt.Fprintf(&out, "written: %s\n", file)
	}
	for _, row := range r.Rows {
		if row.Error != "" {
			fmt.Fprintf(&out, "%s at %d tokens: %s\n", row.Method, row.Tokens, row.Error)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// table has a row for each method at each length, method beside method.
func (r *forcedReport) table() table {
	t := table{
		{"", "", "", "", "perplexity", "answers'", "divergence", "logit", "same"},
		{"method", "tokens", "texts", "forced", "", "perplexity", "nats", "error", "token %"},
	}
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, func(a, b forcedRow) int { return a.Tokens - b.Tokens })
	for _, row := range rows {
		cells := []string{
			row.Method, strconv.Itoa(row.Tokens), strconv.Itoa(row.Texts), strconv.Itoa(row.ForcedTokens),
			digits(row.Perplexity), digits(row.AnswerPerplexity),
		}
		if a := row.Against; a != nil {
			worst := none
			if a.LogitError != nil {
				worst = number(*a.LogitError)
			}
			cells = append(cells, number(a.Divergence), worst, inPercent(a.SameToken))
		}
		t = append(t, fill(cells, len(t[0])))
	}
	return t
}

// digits writes a perplexity with five digits; one that is not known as none.
func digits(x *float64) string {
	if x == nil {
		return none
	}
	return fmt.Sprintf("%#.5g", *x)
}
