package stages

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"headinfer/transfer"
)

// window sets which tokens the loop's heads attend to, and says what that loses.
func (o *attentionOptions) window(loop *HeadLoop) error {
	loop.cut, loop.autoSpan = transfer.Cut{Span: o.Span.N}, o.Span.Is("auto")
	if o.Recent.Is("all") {
		switch {
		case o.Sinks > 0:
			return fmt.Errorf("option sinks: %s tokens at the beginning are kept beside the recent ones, and recent is all; give recent a number, or leave sinks at 0", o.Sinks)
		case o.StreamingHeads != "":
			return errors.New("option streaming_heads: recent is all, so every head sees everything; give recent a number")
		}
		return nil
	}
	loop.cut.Keep = transfer.Keep{Sinks: int(o.Sinks), Recent: o.Recent.N}
	which := ""
	if o.StreamingHeads != "" {
		full, streaming, err := readHeads(o.StreamingHeads, loop.shape)
		if err != nil {
			return fmt.Errorf("option streaming_heads: %w", err)
		}
		loop.cut.Full = full
		which = fmt.Sprintf(" by %d of %d KV heads (%s)", streaming, loop.shape.Layers*loop.shape.KVHeads, o.StreamingHeads)
	}
	loop.lossy = append(loop.lossy, fmt.Sprintf("heads.attention.recent=%s: only the first %s and the last %s tokens before a pass are attended to%s", o.Recent, o.Sinks, o.Recent, which))
	return nil
}

// readHeads reads which heads attend to everything, by layer and KV head, and
// counts the others. Numbers are between 0 and 1, and from 0.5 on a head does.
func readHeads(path string, shape transfer.Shape) (full [][]bool, streaming int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != shape.KVHeads {
			return nil, 0, fmt.Errorf("%s:%d: %d numbers; the model has %d KV heads a layer", path, number, len(fields), shape.KVHeads)
		}
		heads := make([]bool, len(fields))
		for i, field := range fields {
			share, err := strconv.ParseFloat(field, 64)
			if err != nil || !(share >= 0 && share <= 1) {
				return nil, 0, fmt.Errorf("%s:%d: %q is not a number from 0 to 1", path, number, field)
			}
			if heads[i] = share >= 0.5; !heads[i] {
				streaming++
			}
		}
		full = append(full, heads)
	}
	if len(full) != shape.Layers {
		return nil, 0, fmt.Errorf("%s: %d lines with numbers; the model has %d layers", path, len(full), shape.Layers)
	}
	return full, streaming, nil
}
