package stages

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestForce compares the logits before each forced token with those after a
// prefill of everything before it.
func TestForce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ids := make([]int32, 83)
	for i := range ids {
		ids[i] = r.Int32N(320)
	}
	const forced = 7
	read := len(ids) - forced
	for _, method := range []string{"standard", "headinfer-1", "tiled"} {
		e := openMethod(t, method, tinyLlama, small[method]...)
		text := admit(t, e)
		logits, err := text.Prefill(t.Context(), ids[:read], 20, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got [][]float32
		err = text.Force(t.Context(), ids[read:], logits, func(i int, logits []float32) error {
			if i != len(got) {
				t.Errorf("%s: token %d comes after %d others", method, i, len(got))
			}
			got = append(got, logits)
			return nil
		})
		if err != nil || len(got) != forced {
			t.Fatalf("%s: %d of %d tokens, error %v", method, len(got), forced, err)
		}
		if !slices.Equal(text.Tokens, ids[:len(ids)-1]) {
			t.Errorf("%s: %d tokens were read of %d; the last one should be left", method, len(text.Tokens), len(ids))
		}
		text.Release()
		for i := range got {
			text := admit(t, e)
			want, err := text.Prefill(t.Context(), ids[:read+i], 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			text.Release()
			for j := range want {
				if d := math.Abs(float64(got[i][j] - want[j])); d > tolerance {
					t.Fatalf("%s: token %d, logit %d: %g, and %g after a prefill", method, i, j, got[i][j], want[j])
				}
			}
		}
	}
}

// TestForceStops ends with what visit says, and refuses what it cannot read.
func TestForceStops(t *testing.T) {
	e := openMethod(t, "adaptive", tinyLlama)
	text := admit(t, e)
	defer text.Release()
	logits, err := text.Prefill(t.Context(), []int32{1, 2, 3}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	never := func(int, []float32) error {
		t.Error("visited")
		return nil
	}
	vocabulary := int32(e.Checkpoint.Config.Vocab)
	for _, wrong := range []struct {
		tokens []int32
		logits []float32
		want   string
	}{
		{[]int32{1, vocabulary}, logits, "forced token 1 is"},
		{[]int32{-1}, logits, "forced token 0 is -1; expected 0 to"},
		{[]int32{1}, logits[1:], "logits before the first forced token; expected"},
	} {
		if err := text.Force(t.Context(), wrong.tokens, wrong.logits, never); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%v: error %v; expected %q", wrong.tokens, err, wrong.want)
		}
	}
	if err := text.Force(t.Context(), nil, nil, never); err != nil {
		t.Errorf("no tokens: %v", err)
	}
	enough := errors.New("enough")
	visits := 0
	err = text.Force(t.Context(), []int32{4, 5, 6}, logits, func(int, []float32) error {
		visits++
		if visits == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || visits != 2 || !slices.Equal(text.Tokens, []int32{1, 2, 3, 4}) {
		t.Errorf("error %v after %d visits, %v read", err, visits, text.Tokens)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = text.Force(ctx, []int32{4, 5, 6}, logits, func(int, []float32) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
