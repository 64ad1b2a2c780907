package config

import (
	"bytes"
	"fmt"
	"strings"
)

var levelIntros = []struct {
	level Level
	intro string
}{
	{Documents, "What a corpus goes through. A stage reads from the one above it, unless it says `from:`."},
	{Heads, "What each head group of each layer goes through, for every chunk of tokens and every token decoded."},
}

// Markdown writes the page of all stages: for each level its stages in the order given, each with what it does, what it
// takes and gives, a table of options and an example that loads.
func Markdown(stages []StageDoc) []byte {
	var b bytes.Buffer
	b.WriteString("# Stages\n\nEvery box that `pipeline.yaml` can name, with what it takes. " +
		"This page is generated from the stages' own declarations; `headinfer stages NAME` prints the same in a terminal.\n\n" +
		"Beside the options listed, every stage takes `id` (its own name by default; give one where a stage appears twice) " +
		"and `from` (the id of an entry above; by default the one just above). " +
		"Sizes are written `2GiB` or `512 MB`, counts `4096`, `32Ki` (× 1024) or `8k` (× 1000). " +
		"`${VAR:-default}` is replaced by an environment variable; inside `{ }` it needs quotes.\n\n" +
		"Any option can be set for one run: `--set heads.attention.group=1` is level, id, option.\n")
	writeOptions(&b, "\n## model\n\nWhich model runs.\n", Fields(ModelOptions{}))
	writeOptions(&b, "\n## device\n\nWhat it runs on.\n", Fields(DeviceOptions{}))
	for _, part := range levelIntros {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", part.level, part.intro)
		writeOverview(&b, part.level, stages)
		for _, s := range stages {
			if s.Level == part.level {
				writeStage(&b, s)
			}
		}
	}
	return b.Bytes()
}

// writeOverview writes a table of a level's stages, each linked to its section.
func writeOverview(b *bytes.Buffer, level Level, stages []StageDoc) {
	heading := "\n| stage | in → out | what it does |\n|---|---|---|\n"
	for _, s := range stages {
		if s.Level != level {
			continue
		}
		b.WriteString(heading)
		heading = ""
		does := firstSentence(s.Doc)
		if s.Lossy != "" {
			does += " **Lossy.**"
		}
		fmt.Fprintf(b, "| [%s](#%s) | %s | %s |\n", s.Name, s.Name, cell(s.arrow()), cell(does))
	}
}

// firstSentence returns a text up to its first full stop that ends a sentence.
func firstSentence(text string) string {
	if end := strings.Index(text, ". "); end >= 0 {
		return text[:end+1]
	}
	return text
}

func writeStage(b *bytes.Buffer, s StageDoc) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n`%s`\n", s.Name, s.Doc, s.arrow())
	if s.Lossy != "" {
		fmt.Fprintf(b, "\n> **Lossy.** %s\n", s.Lossy)
	}
	fields := Fields(s.Options)
	writeOptions(b, "", fields)
	fmt.Fprintf(b, "\n```yaml\n%s:\n", s.Level)
	for line := range strings.Lines(exampleYAML(s.Name, fields)) {
		b.WriteString("  " + line)
	}
	b.WriteString("```\n")
}

// writeOptions writes a table; a stage without options has none.
func writeOptions(b *bytes.Buffer, heading string, fields []Field) {
	b.WriteString(heading)
	if len(fields) == 0 {
		b.WriteString("\nIt has no options of its own.\n")
		return
	}
	b.WriteString("\n| option | default | unit | values | what it is |\n|---|---|---|---|---|\n")
	for _, f := range fields {
		values := f.values()
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.Name, cellCode(f.Default), cell(f.Unit), cell(values), cell(f.Doc))
	}
}

// cell keeps a text within one cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

// cellCode writes a text as code in a cell. A code span cannot hold its own delimiter, so backticks get a longer one.
func cellCode(text string) string {
	if text == "" {
		return ""
	}
	code := strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
	if strings.Contains(code, "`") {
		return "`` " + code + " ``"
	}
	return "`" + code + "`"
}
