package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/model/hub"
)

// modelList is what models prints of all.
type modelList struct {
	Cache  string      `json:"cache"` // the folder of the hub's models
	Models []modelItem `json:"models"`
}

// modelItem is a line of the list.
type modelItem struct {
	Model string `json:"model"`           // what a pipeline's model.path is
	Path  string `json:"path,omitempty"`  // where it lies
	Bytes int64  `json:"bytes,omitempty"` // of its weights' files
	// Problem is why it cannot be run; the rest is empty then.
	Problem      string `json:"problem,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	Parameters   int64  `json:"parameters,omitempty"`
	Context      int    `json:"context_tokens,omitempty"`
	context      string
}

// config fills in what a configuration says.
func (m *modelItem) config(c model.Config, err error) {
	if err != nil {
		m.Problem = err.Error()
		return
	}
	m.Architecture, m.Parameters, m.Context, m.context = c.Architecture, c.Parameters(), c.Context, contextOf(c)
}

// listModels lists what can be run.
func listModels(ctx context.Context) (*modelList, error) {
	h, err := offlineHub()
	if err != nil {
		return nil, err
	}
	list := &modelList{Cache: h.Cache}
	for _, path := range append([]string{model.Builtin}, model.Shapes()...) {
		if path != model.Builtin {
			path = "random:" + path
		}
		c, err := model.Open(path)
		if err != nil {
			return nil, err
		}
		item := modelItem{Model: path, Bytes: c.WeightBytes()}
		item.config(c.Config, nil)
		list.Models = append(list.Models, item)
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	cached, err := cachedModels(ctx, h)
	list.Models = slices.Insert(list.Models, 1, cached...)
	return list, err
}

// offlineHub returns the hub that the environment names, which asks nothing.
func offlineHub() (*hub.Hub, error) {
	settings, err := hub.FromEnv(func(name string) string {
		if name == "HF_HUB_OFFLINE" {
			return "1"
		}
		return os.Getenv(name)
	})
	if err != nil {
		return nil, usage(err)
	}
	h, err := hub.New(settings)
	return h, usage(err)
}

// inCache returns where a model of the hub lies; another path stays as it is.
func inCache(ctx context.Context, path string) (string, error) {
	if !hub.IsPath(path) {
		return path, nil
	}
	m, err := hub.Parse(path)
	if err != nil {
		return "", usage(err)
	}
	h, err := offlineHub()
	if err != nil {
		return "", err
	}
	local, err := h.Find(ctx, m)
	if errors.Is(err, hub.ErrOffline) {
		return "", usage(fmt.Errorf("%s is not in the cache, or not all of it; `headinfer pull %s` fetches it", path, m))
	}
	return local, err
}

// cachedModels lists the models in the hub's cache, by name.
func cachedModels(ctx context.Context, h *hub.Hub) ([]modelItem, error) {
	repositories, err := os.ReadDir(h.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the cache of models: %w", err)
	}
	var all []modelItem
	for _, r := range repositories {
		rest, ok := strings.CutPrefix(r.Name(), "models--")
		owner, name, both := strings.Cut(rest, "--")
		// Others put models without an owner there, which hf: cannot name.
		m, err := hub.Parse(owner + "/" + name)
		if !ok || !both || err != nil {
			continue
		}
		snapshots, err := snapshotsOf(filepath.Join(h.Cache, r.Name()))
		if err != nil {
			all = append(all, modelItem{Model: m.String(), Problem: err.Error()})
			continue
		}
		for _, s := range snapshots {
			m.Revision = s.commit
			items, err := s.models(ctx, h, m)
			if err != nil {
				items = []modelItem{{Model: m.String(), Problem: err.Error()}}
			}
			all = append(all, items...)
		}
	}
	slices.SortFunc(all, func(a, b modelItem) int { return strings.Compare(a.Model, b.Model) })
	return all, nil
}

// snapshot is a commit of a model in the cache.
type snapshot struct {
	dir, commit, revision string // revision is the commit, if nothing stands for it
}

// snapshotsOf lists what the cache has of a model.
func snapshotsOf(repository string) ([]snapshot, error) {
	revisions := map[string]string{}
	refs := filepath.Join(repository, "refs")
	err := filepath.WalkDir(refs, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(refs, path)
		commit := strings.TrimSpace(string(data))
		if name = filepath.ToSlash(name); revisions[commit] == "" || name == "main" {
			revisions[commit] = name
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(repository, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []snapshot
	for _, e := range entries {
		s := snapshot{filepath.Join(repository, "snapshots", e.Name()), e.Name(), e.Name()}
		if r, named := revisions[e.Name()]; named {
			s.revision = r
		}
		all = append(all, s)
	}
	return all, nil
}

// models lists what a snapshot has: the model in safetensors, and each GGUF file.
func (s snapshot) models(ctx context.Context, h *hub.Hub, m hub.Model) ([]modelItem, error) {
	weights := map[string]int64{} // by extension, or by file for GGUF
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path) // of what a link leads to
		if err != nil {
			return nil // to nothing: as if it were not there
		}
		name, err := filepath.Rel(s.dir, path)
		switch name = filepath.ToSlash(name); {
		case strings.HasSuffix(strings.ToLower(name), ".gguf"):
			weights[name] = info.Size()
		case name == "config.json":
			weights[""] += 0
		case strings.HasSuffix(name, ".safetensors") && !strings.Contains(name, "/"):
			weights[""] += info.Size()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var items []modelItem
	for _, file := range slices.Sorted(maps.Keys(weights)) {
		m.Revision, m.File = s.commit, file
		named := m
		named.Revision = s.revision
		item := modelItem{Model: hub.Prefix + named.String(), Bytes: weights[file]}
		item.Path, err = h.Find(ctx, m)
		switch {
		case errors.Is(err, hub.ErrOffline):
			item.Problem = fmt.Sprintf("not all of it is there; `headinfer pull %s` fetches the rest", named)
		case err != nil:
			return nil, err
		default:
			item.config(model.ReadConfig(item.Path))
		}
		items = append(items, item)
	}
	return items, nil
}

func (l *modelList) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "model\tarchitecture\tparameters\tweights\tcontext")
	for _, m := range l.Models {
		if m.Problem != "" {
			fmt.Fprintf(t, "%s\t—\t\t%s\n", m.Model, kernels.FormatBytes(m.Bytes))
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Model, m.Architecture, parameters(m.Parameters), kernels.FormatBytes(m.Bytes), m.context)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range l.Models {
		if m.Problem == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s: %s\n", m.Model, m.Problem); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nModels of a hub are in %s.\n", l.Cache)
	return err
}
