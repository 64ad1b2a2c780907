package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"headinfer/kernels"
	"headinfer/plan"
)

// print writes the report for a person.
func (f *planFile) print(out *strings.Builder, markdown bool) {
	fmt.Fprintf(out, "model: %s, %s of weights, %s of keys and values a token\n", f.Model, kernels.FormatBytes(f.shape.WeightBytes), kernels.FormatBytes(f.shape.KV(1)))
	paragraph(out, markdown)
	m := f.Machine
	fmt.Fprintf(out, "machine: %s, %s to use, and %s for caches on the host%s\n", m.Name, kernels.FormatBytes(m.Device), kernels.FormatBytes(m.Host), m.together())
	if r := m.Rates; r != nil {
		paragraph(out, markdown)
		fmt.Fprintf(out, "rates: linear layers %s and attention %s TFLOP/s, reads %s GB/s, link %s GB/s; from %s\n",
			number(r.Linear/1e12), number(r.Attention/1e12), number(r.Read/1e9), number(r.CopyIn/1e9), m.RatesFrom)
	}
	out.WriteByte('\n')
	f.rowTable().render(out, markdown, 2)
	for _, r := range f.Rows {
		if r.Error != "" {
			fmt.Fprintf(out, "\n%s: %s\n", r.Method, r.Error)
		}
	}
	if len(f.Longest) > 0 {
		out.WriteByte('\n')
		f.longestTable().render(out, markdown, 1)
	}
	notes := f.Advice
	if m.Rates == nil {
		notes = append([]string{"Times need rates: name a card with --gpu, or a file of measured ones with --rates."}, notes...)
	}
	if len(notes) > 0 {
		out.WriteByte('\n')
	}
	for _, note := range notes {
		if markdown {
			note = "- " + note
		}
		writeNote(out, false, note)
	}
}

// noteWidth is how wide notes are for a person.
const noteWidth = 120

// writeNote writes a line of text below a table, in Markdown as a paragraph.
func writeNote(out *strings.Builder, markdown bool, note string) {
	if markdown {
		out.WriteString("\n" + note + "\n")
		return
	}
	width := 0
	for i, word := range strings.Fields(note) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+n > noteWidth:
			out.WriteString("\n  ")
			width = 2
		default:
			out.WriteByte(' ')
			width++
		}
		out.WriteString(word)
		width += n
	}
	out.WriteByte('\n')
}

// rowTable is memory by purpose, and times.
func (f *planFile) rowTable() table {
	t := table{
		{"", "", "", "", "", "", "", "device", "host", "", "prefill", "", "decode", "", "break-even"},
		{"method", "context", "a pass", "tile", "weights", "kv", "activations", "in all", "kv", "fits", "s", "bound by", "ms", "bound by", "chunk"},
	}
	for _, r := range f.Rows {
		cells := []string{r.name()}
		if r.Error != "" {
			t = append(t, fill(cells, len(t[0])))
			continue
		}
		cells = append(cells, strconv.Itoa(r.Context), passOf(r.Chunk), tileName(r.Group, f.shape.KVHeads, r.Span),
			size(r.Memory.Weights), size(r.Memory.KV), size(r.Memory.Activations), size(r.Device), size(r.Memory.HostKV), r.fits())
		if r.Prefill != nil && r.Fits {
			even := none
			if r.BreakEven > 0 {
				even = fmt.Sprintf("%.0f", r.BreakEven)
			}
			cells = append(cells, number(r.Prefill.Seconds), r.Prefill.Bound, number(1e3*r.Decode.Seconds), r.Decode.Bound, even)
		}
		t = append(t, fill(cells, len(t[0])))
	}
	return t
}

func (r planRow) name() string { return lossyName(r.Method, r.Lossy) }

func lossyName(name string, lossy bool) string {
	if lossy {
		return name + " (lossy)"
	}
	return name
}

// fits says yes, or what is missing.
func (r planRow) fits() string {
	switch {
	case r.Fits:
		return "yes"
	case r.Short > 0:
		return kernels.FormatBytes(r.Short) + " short"
	}
	return kernels.FormatBytes(r.ShortHost) + " short on the host"
}

func passOf(chunk int) string {
	if chunk == 0 {
		return "all"
	}
	return strconv.Itoa(chunk)
}

func tileName(group, kvHeads, span int) string {
	heads, tokens := strconv.Itoa(group), "all"
	if group >= kvHeads {
		heads = "all"
	}
	if span > 0 {
		tokens = strconv.Itoa(span)
	}
	return heads + "×" + tokens
}

// longestTable is how far each method's memory reaches.
func (f *planFile) longestTable() table {
	t := table{{"longest context", "tokens", "ends at", "device memory", "host memory"}}
	for _, l := range f.Longest {
		cells := []string{lossyName(l.Method, l.Lossy)}
		switch {
		case l.Any:
			cells = append(cells, "any")
		case l.Tokens == 0:
			cells = append(cells, "none fits", l.Bound)
		default:
			cells = append(cells, strconv.Itoa(l.Tokens), l.Bound, size(l.Memory.Device()), size(l.Memory.HostKV))
		}
		t = append(t, fill(cells, len(t[0])))
	}
	return t
}

// render writes a table, of which so many rows are its head, as text or as Markdown.
func (t table) render(out *strings.Builder, markdown bool, head int) {
	if !markdown {
		t.write(out)
		return
	}
	names := make([]string, len(t[0]))
	for i := range names {
		var parts []string
		for _, row := range t[:head] {
			if row[i] != "" {
				parts = append(parts, row[i])
			}
		}
		names[i] = strings.Join(parts, " ")
	}
	line := func(cells []string) { out.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(names)
	line(append([]string{"---"}, strings.Split(strings.Repeat(",---:", len(names)-1), ",")[1:]...))
	for _, row := range t[head:] {
		line(row)
	}
}

// paragraph ends a line so that Markdown does not run the next into it.
func paragraph(out *strings.Builder, markdown bool) {
	if markdown {
		out.WriteByte('\n')
	}
}

// tokensAbout writes a count of tokens for a person: "480k", "1.05M".
func tokensAbout(n int) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.3gM", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.0fk", float64(n)/1e3)
	}
	return strconv.Itoa(n)
}

// best is the method that reaches furthest of those that count; of equals the one
// that chooses its group by what fits.
func (f *planFile) best(counts func(planLongest) bool) (best planLongest, ok bool) {
	for _, l := range f.Longest {
		further := l.Tokens > best.Tokens || l.Tokens == best.Tokens && l.how.Adaptive && !best.how.Adaptive
		if counts(l) && l.Tokens > 0 && further {
			best, ok = l, true
		}
	}
	return best, ok
}

// advice says what the machine holds, and what would hold more.
func (f *planFile) advice() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	m := f.Machine
	exact, ok := f.best(func(l planLongest) bool { return !l.Lossy })
	where := fmt.Sprintf("On %s with %s of host memory", m.Name, kernels.FormatBytes(m.Host))
	asked := slices.ContainsFunc(f.Longest, func(l planLongest) bool { return !l.Lossy })
	switch {
	case len(f.Longest) == 0:
		return nil
	case !ok && f.shape.WeightBytes <= m.Device && !asked:
	case !ok:
		if f.shape.WeightBytes > m.Device {
			add("%s nothing fits: the weights alone take %s, and there is %s of device memory.", where, kernels.FormatBytes(f.shape.WeightBytes), kernels.FormatBytes(m.Device))
			if f.fourBit < m.Device {
				add("In 4 bits (such as q4_k in a .gguf file) they would take about %s.", kernels.FormatBytes(f.fourBit))
			}
		} else {
			add("%s no exact method has room for a single token.", where)
		}
	case exact.Any:
		add("%s: any length (%s).", where, exact.Method)
	default:
		add("%s: %s tokens (%s, exact), where %s ends it.", where, tokensAbout(exact.Tokens), exact.Method, exact.Bound)
		all = append(all, f.more(exact)...)
	}
	var lossy []string
	for _, l := range f.Longest {
		if l.Lossy && l.Tokens > exact.Tokens {
			reach := tokensAbout(l.Tokens)
			if l.Any {
				reach = "any length"
			}
			lossy = append(lossy, l.Method+" "+reach)
		}
	}
	switch {
	case len(lossy) > 0 && ok:
		add("Lossy methods would hold more: %s.", strings.Join(lossy, ", "))
	case len(lossy) > 0:
		add("%s lossy methods hold: %s.", where, strings.Join(lossy, ", "))
	}
	if on, ok := f.best(func(l planLongest) bool { return !l.Lossy && !l.OnHost }); ok && exact.OnHost {
		add("Up to %s tokens the cache fits on the device (%s), where a token need not wait for the link%s.", tokensAbout(on.Tokens), on.Method, f.faster(on, exact))
	}
	if f.trained < exact.Tokens {
		add("The model was trained for texts of %d tokens.", f.trained)
	}
	return append(all, f.chunks()...)
}

// more says what would take an exact method further.
func (f *planFile) more(exact planLongest) []string {
	room := f.Machine.room()
	if exact.Bound == "host memory" {
		twice := room
		twice.Host *= 2
		return []string{fmt.Sprintf("%s of host memory would hold %s; a token takes %s of it.",
			kernels.FormatBytes(twice.Host), tokensAbout(exact.tokens(twice)), kernels.FormatBytes(max(exact.Memory.HostKV/int64(max(exact.Tokens, 1)), 1)))}
	}
	if exact.Bound != "device memory" || !exact.OnHost {
		return nil
	}
	how := exact.how
	how.Adaptive, how.Span, how.AutoSpan = false, 4096, false
	spans := planMachine.longest(f.Machine, exact.Method, f.shape, how, f.trained)
	if spans.Tokens <= exact.Tokens {
		return nil
	}
	return []string{fmt.Sprintf("With heads.attention.span=4096 the device's memory does not grow with the text: %s tokens, where %s ends it.", tokensAbout(spans.Tokens), spans.Bound)}
}

// faster compares a decode step at the longest context that the device holds.
func (f *planFile) faster(on, exact planLongest) string {
	if f.Machine.Rates == nil {
		return ""
	}
	step := func(l planLongest) plan.Prediction {
		return f.shape.DecodeTime(l.how.For(f.shape, f.Machine.choices(), f.Machine.room(), f.trained, on.Tokens), *f.Machine.Rates, on.Tokens)
	}
	return fmt.Sprintf(": %s ms there instead of %s", number(1e3*step(on).Seconds), number(1e3*step(exact).Seconds))
}

// chunks says which passes are too short to hide their copies.
func (f *planFile) chunks() []string {
	for _, r := range f.Rows {
		if r.Fits && r.Chunk > 0 && r.Chunk < r.Context && r.BreakEven > float64(r.Chunk) {
			return []string{fmt.Sprintf("Passes of %d tokens wait for copies at %d tokens (%s): computing takes as long as copying from %.0f tokens on.", r.Chunk, r.Context, r.Method, r.BreakEven)}
		}
	}
	return nil
}
