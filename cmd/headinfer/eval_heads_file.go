package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// headsFile is a file of heads before it is written: PATH.partial, which write
// renames, so that an earlier file stays until there is another.
type headsFile struct {
	path    string // or what it links to
	partial *os.File
}

// createHeadsFile opens a file of heads, or says why it cannot be written.
func createHeadsFile(path string) (*headsFile, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a rename would put a file in the link's place
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory; name a file, such as %s", path, filepath.Join(path, "heads.tsv"))
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is a device or a pipe, and what is written is read again; name a file, such as heads.tsv", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	partial, err := os.Create(path + ".partial")
	if err != nil {
		return nil, err
	}
	return &headsFile{path: path, partial: partial}, nil
}

// write writes the file, whole, and gives it its name.
func (f *headsFile) write(text string) error {
	file := f.partial
	f.partial = nil
	_, err := file.WriteString(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// close removes what was not written.
func (f *headsFile) close() error {
	if f.partial == nil {
		return nil
	}
	return errors.Join(f.partial.Close(), os.Remove(f.partial.Name()))
}

// setHeads is the --set of a file of heads. A value is read as YAML, with
// variables, and a path may look like either.
func setHeads(path string) string {
	return "heads.attention.streaming_heads=" + strconv.Quote(strings.ReplaceAll(path, "$", "$$"))
}

// border is the number of the streaming_heads file from which on a head sees
// everything.
const border = 0.5

// scoresOf numbers the heads by the order of their damage, [layers, KV heads]:
// the least damaging share of all below the border, the others from there up to
// 1. It counts those below.
func scoresOf(damage [][]float64, share float64) (scores [][]float64, streaming int) {
	type head struct{ layer, head int }
	var order []head
	for l, heads := range damage {
		scores = append(scores, make([]float64, len(heads)))
		for h := range heads {
			order = append(order, head{l, h})
		}
	}
	slices.SortStableFunc(order, func(a, b head) int {
		return cmp.Compare(damage[a.layer][a.head], damage[b.layer][b.head])
	})
	const rounding = 1e-9 // 0.7 of 10 are 7
	streaming = int(share*float64(len(order)) + rounding)
	for rank, at := range order {
		score := border * float64(rank) / float64(streaming)
		if rank >= streaming {
			score = border + (1-border)*float64(rank-streaming+1)/float64(len(order)-streaming)
		}
		scores[at.layer][at.head] = math.Floor(score*1e4) / 1e4
	}
	return scores, streaming
}

// headLines writes a line for each layer with a number for each KV head.
func headLines(scores [][]float64) string {
	var out strings.Builder
	for _, heads := range scores {
		for h, score := range heads {
			if h > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(strconv.FormatFloat(score, 'f', -1, 64))
		}
		out.WriteByte('\n')
	}
	return out.String()
}
