package model

import (
	"context"
	"errors"
	"fmt"
	"os"

	"headinfer/model/hub"
)

// fromHub returns where a model of the hub lies, and fetches it first if need
// be. The environment says which hub is asked and where the cache is.
func fromHub(path string) (string, error) {
	m, err := hub.Parse(path)
	if err != nil {
		return "", err
	}
	settings, err := hub.FromEnv(os.Getenv)
	if err != nil {
		return "", err
	}
	h, err := hub.New(settings)
	if err != nil {
		return "", err
	}
	local, err := h.Find(context.Background(), m)
	if errors.Is(err, hub.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return local, err
}
