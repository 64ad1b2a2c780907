package stages

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headinfer/transfer"
)

// TestPrefetchRunsAhead shows from the device's own times that a tile is
// copied while one before it is attended to, across the border of layers too,
// and that with a single slot it is not.
func TestPrefetchRunsAhead(t *testing.T) {
	model := reshaped(t, tinyLlama, map[string]int{"num_hidden_layers": 6})
	for _, slots := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			e := openMethod(t, "headinfer-1", model, fmt.Sprintf("heads.prefetch.slots=%d", slots))
			text := admit(t, e)
			defer text.Release()
			ids := make([]int32, 1800)
			for i := range ids {
				ids[i] = int32(i % 300)
			}
			if _, err := text.Prefill(t.Context(), ids, 100, 0); err != nil {
				t.Fatal(err)
			}
			within, across, tiles := overlaps(e.timeline.Spans())
			t.Logf("of %d tiles, %d were copied during earlier attention of their layer, %d of the layer before", tiles, within, across)
			if slots == 1 && within+across > 0 {
				t.Errorf("with one slot, %d copies ran during attention", within+across)
			}
			// How many is up to the scheduler of a machine with other things to do.
			if slots > 1 && (within == 0 || across == 0) {
				t.Errorf("with %d slots, %d copies within layers and %d across layers ran during attention", slots, within, across)
			}
		})
	}
}

// reshaped returns the path of random weights in the shape of a model, but for some
// numbers of its config.json.
func reshaped(t *testing.T, path string, numbers map[string]int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var shape map[string]any
	if err := json.Unmarshal(text, &shape); err != nil {
		t.Fatal(err)
	}
	for name, n := range numbers {
		shape[name] = n
	}
	if text, err = json.Marshal(shape); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return "random:" + file
}

// overlaps counts the copies that ran during the attention of an earlier tile,
// of the same layer or of the one before it. With two slots that is the tile
// just before, with more an earlier one.
func overlaps(spans []transfer.Span) (within, across, tiles int) {
	var copies, attention []transfer.Span
	for _, s := range spans {
		switch {
		case s.Track == transfer.CopyIn:
			copies = append(copies, s)
		case s.Track == transfer.Compute && isTile(s.Name):
			attention = append(attention, s)
		}
	}
	at := 0
	for _, c := range copies {
		// Tiles come in the same order on both tracks; a first chunk's have
		// nothing to copy.
		for at < len(attention) && attention[at].Name != c.Name {
			at++
		}
		tiles++
		for _, earlier := range attention[:at] {
			if c.Start >= earlier.End || earlier.Start >= c.End {
				continue
			}
			if layerOf(earlier.Name) == layerOf(c.Name) {
				within++
			} else {
				across++
			}
			break
		}
	}
	return within, across, tiles
}

func isTile(name string) bool {
	var l, h0, h1, t0, t1 int
	n, _ := fmt.Sscanf(name, "L%d h%d:%d t%d:%d", &l, &h0, &h1, &t0, &t1)
	return n == 5
}

func layerOf(name string) (layer string) {
	layer, _, _ = strings.Cut(name, " ")
	return layer
}
