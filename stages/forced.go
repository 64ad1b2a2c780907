package stages

import (
	"context"
	"fmt"
)

// Force goes through tokens that are given, as if they had been decoded: for
// each, visit gets the logits [vocabulary] that the model had before it.
// logits are those before tokens[0], as Prefill or Step returned them. The last
// token is not read, since nothing asks for what would follow it; Step reads it.
//
// visit is called in order and may keep what it gets. Its error ends Force and
// is what Force returns. A token that is none of the model's is refused before
// anything is read.
func (t *Text) Force(ctx context.Context, tokens []int32, logits []float32, visit func(i int, logits []float32) error) error {
	if len(tokens) == 0 {
		return nil
	}
	vocabulary := t.engine.Checkpoint.Config.Vocab
	if len(logits) != vocabulary {
		return fmt.Errorf("text %q: %d logits before the first forced token; expected those of all %d tokens, as Prefill returns them", t.ID, len(logits), vocabulary)
	}
	for i, token := range tokens {
		if token < 0 || int(token) >= vocabulary {
			return fmt.Errorf("text %q: forced token %d is %d; expected 0 to %d", t.ID, i, token, vocabulary-1)
		}
	}
	// All at once: growing step by step would leave a chain of tiny blocks.
	if err := t.engine.reserve(t, len(t.Tokens)+len(tokens), 1); err != nil {
		return err
	}
	for i := range tokens {
		if i > 0 {
			var err error
			if logits, err = t.Step(ctx, tokens[i-1]); err != nil {
				return err
			}
		}
		if err := visit(i, logits); err != nil {
			return err
		}
	}
	return nil
}
