package stages

import (
	"testing"

	"headinfer/config"
)

// TestEveryOptionIsDeclaredInFull holds the stages' options to what the
// documentation and the schema are made from.
func TestEveryOptionIsDeclaredInFull(t *testing.T) {
	for _, s := range Specs() {
		if err := config.Lint(s.Options()); err != nil {
			t.Errorf("%s/%s: %v", s.Level, s.Name, err)
		}
	}
	for _, options := range []any{new(config.ModelOptions), new(config.DeviceOptions)} {
		if err := config.Lint(options); err != nil {
			t.Error(err)
		}
	}
}
