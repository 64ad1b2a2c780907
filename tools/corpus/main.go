// Command corpus writes the documents that headinfer's pipelines are tried on, and scores the answers that come back.
//
// A document is a text of a chosen length, made from sentence grammars (package eval/prose), with one fact planted
// at a chosen depth. Beside NAME.txt lie NAME.question, which asks for the fact, and NAME.answer, its key: five
// digits that occur nowhere else in the text. All three end in one newline.
//
//	go run ./tools/corpus -out testdata/corpus -seed 1
//	go run ./tools/corpus -score out/answers.jsonl -dir testdata/corpus
//
// The same seed gives the same bytes on every machine. Nothing here knows a tokenizer: lengths are in characters, at
// 4.1 to a token, which is what SmolLM2's tokenizer makes of this prose.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "corpus:", err)
		}
		os.Exit(2)
	}
}

// run does what the arguments ask: writes a corpus (-out) or scores answers against one (-score, -dir).
func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("corpus", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "write the corpus into this `folder`, which is made if it is missing")
	seed := flags.Uint64("seed", 1, "the corpus to write: another seed gives other texts and keys")
	answers := flags.String("score", "", "score this `file` of JSON lines, each with an id and an answer")
	dir := flags.String("dir", "testdata/corpus", "the corpus `folder` to score against")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("argument %q: expected flags only (-out FOLDER, or -score FILE)", flags.Arg(0))
	case (*out == "") == (*answers == ""):
		return errors.New("give one of -out FOLDER (write a corpus) and -score FILE (score answers)")
	case *out != "":
		return writeCorpus(*out, *seed)
	}
	documents, err := readKeys(*dir)
	if err != nil {
		return err
	}
	return scoreFile(*answers, documents, stdout)
}
