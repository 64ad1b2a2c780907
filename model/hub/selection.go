package hub

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	configName    = "config.json"
	tokenizerName = "tokenizer.json"
	weightsName   = "model.safetensors"
	indexName     = "model.safetensors.index.json"
	maxIndex      = 100_000_000 // bytes, as the loader allows
	maxNamed      = 8           // files that an error lists
)

// besides are the small files that are fetched before the weights. Folders of a
// repository hold other forms of the model, and are left out.
var besides = []string{
	configName, "generation_config.json", "tokenizer*.json", "tokenizer.model", "special_tokens_map.json", "chat_template.*",
}

// small returns what is fetched before the weights: for a model in safetensors
// the configuration, the tokenizer and the weights' index.
func (l *listing) small(m Model) ([]remote, error) {
	if m.File != "" {
		return nil, nil
	}
	if _, err := l.file(m, configName); err != nil {
		return nil, l.noModel(m)
	}
	_, single := l.files[weightsName]
	_, sharded := l.files[indexName]
	if !single && !sharded {
		return nil, l.noModel(m)
	}
	patterns := besides
	if !single {
		patterns = append(slices.Clone(besides), indexName)
	}
	var found []remote
	for _, f := range l.files {
		if slices.ContainsFunc(patterns, func(p string) bool { ok, err := path.Match(p, f.name); return ok && err == nil }) && isFileName(f.name) {
			found = append(found, f)
		}
	}
	return byName(found), nil
}

// weights returns the files of weights: the GGUF file, or those that the loader
// would open. dir is the snapshot, which has the small files.
func (l *listing) weights(m Model, dir string) ([]remote, error) {
	if m.File != "" {
		f, err := l.file(m, m.File)
		return []remote{f}, err
	}
	if f, ok := l.files[weightsName]; ok {
		return []remote{f}, nil
	}
	names, err := shards(inSnapshot(dir, indexName))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m, err)
	}
	var found []remote
	for _, name := range names {
		f, err := l.file(m, name)
		if err != nil {
			return nil, fmt.Errorf("the shard that %s names: %w", indexName, err)
		}
		found = append(found, f)
	}
	return found, nil
}

// shards returns the files that an index of weights names, in order.
func shards(index string) ([]string, error) {
	info, err := os.Stat(index)
	if err != nil {
		return nil, fmt.Errorf("the weights' index: %w", err)
	}
	if info.Size() > maxIndex {
		return nil, fmt.Errorf("%s has %d bytes, and at most %d are read; this is not an index", index, info.Size(), maxIndex)
	}
	data, err := os.ReadFile(index)
	if err != nil {
		return nil, fmt.Errorf("the weights' index: %w", err)
	}
	var parsed struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	var names []string
	for tensor, shard := range parsed.WeightMap {
		if !isFileName(shard) || strings.Contains(shard, "/") {
			return nil, fmt.Errorf("%s: the tensor %q is in %q, and a shard must be a file beside the index; do not use a model that you do not trust", index, tensor, shard)
		}
		names = append(names, shard)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no weight_map, or an empty one", index)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// file returns a file of the listing that must be there.
func (l *listing) file(m Model, name string) (remote, error) {
	f, ok := l.files[name]
	if !ok {
		others := ""
		if m.File != "" {
			others = l.ggufs()
		}
		return f, fmt.Errorf("%s: file %q %w in revision %q%s", m.repo(), name, ErrNotFound, m.Revision, others)
	}
	return f, nil
}

// noModel says what a repository has instead of a model in safetensors.
func (l *listing) noModel(m Model) error {
	err := fmt.Errorf("%s: a model in safetensors (%s, and %s or its index) %w", m, configName, weightsName, ErrNotFound)
	if ggufs := l.ggufs(); ggufs != "" {
		return fmt.Errorf("%w%s; name one as %s:FILE%s", err, ggufs, m, ggufSuffix)
	}
	return fmt.Errorf("%w; weights in other formats are not read", err)
}

// ggufs lists the GGUF files there are, for an error.
func (l *listing) ggufs() string {
	var found []string
	for name := range l.files {
		if isGGUF(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	more := ""
	if n := len(found) - maxNamed; n > 0 {
		found, more = found[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return "; there are " + strings.Join(found, ", ") + more
}

func byName(files []remote) []remote {
	slices.SortFunc(files, func(a, b remote) int { return strings.Compare(a.name, b.name) })
	return files
}
