package safetensors

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"headinfer/internal/shorten"
	"headinfer/model/mapped"
)

const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
	extension  = ".safetensors"
	maxIndex   = 100_000_000 // bytes, as for a header
)

// Open maps and reads the checkpoint at path: a directory, a .safetensors file,
// or the index of a sharded checkpoint. In a directory with both,
// model.safetensors goes before the index. Close the set when its tensors are no
// longer used.
//
// In a sharded checkpoint the index decides: a tensor that a shard holds and the
// index does not give to that shard is left out. What is wrong with the contents
// is a *FileError; a directory without a checkpoint is an ErrNotFound.
func Open(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening a safetensors checkpoint: %w", err)
	}
	file := path
	if info.IsDir() {
		if file, err = find(path); err != nil {
			return nil, err
		}
	}
	s := &Set{name: path, index: map[string]int{}}
	if strings.HasSuffix(file, ".json") {
		err = s.openIndex(file)
	} else {
		err = s.openFile(file, nil)
	}
	if err == nil {
		err = s.scale()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// find returns the file in dir that a checkpoint is opened by.
func find(dir string) (string, error) {
	for _, name := range []string{singleName, indexName} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("opening a safetensors checkpoint: %w", err)
		}
	}
	advice := "give the path of a .safetensors or .gguf file, or download the model again"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("opening a safetensors checkpoint: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), extension) {
			advice = "it has " + e.Name() + ", whose path may be given itself"
			break
		}
	}
	return "", fmt.Errorf("%s: %w: neither %s nor %s is there; %s", dir, ErrNotFound, singleName, indexName, advice)
}

// openFile maps a file and adds those of its tensors that keep allows, or all
// if that is nil.
func (s *Set) openFile(path string, keep func(name string) bool) error {
	mapping, err := mapped.Open(path)
	if err != nil {
		return fmt.Errorf("opening a safetensors checkpoint: %w", err)
	}
	s.mappings = append(s.mappings, mapping)
	entries, err := parse(path, mapping.Bytes())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if keep == nil || keep(e.Name) {
			s.add(e)
		}
	}
	return nil
}

func (s *Set) openIndex(path string) error {
	shardOf, err := readIndex(path)
	if err != nil {
		return err
	}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(shardOf))) {
		file := filepath.Join(filepath.Dir(path), shard)
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%s: the shard %s that the index names: %w; download the model again", path, shard, err)
		}
		err := s.openFile(file, func(name string) bool { return shardOf[name] == shard })
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if _, ok := s.index[name]; !ok {
			return &FileError{path, 0, fmt.Sprintf("tensor %q", shorten.Text(name)),
				fmt.Sprintf("the index says that %s holds it, and it does not; index and shards are of different models, so download the model again", shardOf[name]), ErrDamaged}
		}
	}
	return nil
}

// readIndex returns the shard of every tensor by name.
func readIndex(path string) (map[string]string, error) {
	mapping, err := mapped.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a safetensors index: %w", err)
	}
	shardOf, err := parseIndex(path, mapping.Bytes())
	return shardOf, errors.Join(err, mapping.Close())
}

func parseIndex(path string, data []byte) (map[string]string, error) {
	if len(data) > maxIndex {
		return nil, &FileError{path, 0, "index", fmt.Sprintf("%d bytes, and at most %d are read; this is not an index", len(data), maxIndex), ErrUnsupported}
	}
	doc, err := newDocument(path, 0, data, "index")
	if err != nil {
		return nil, err
	}
	var shardOf map[string]string
	err = doc.object(func(key string) error {
		if key != "weight_map" {
			return doc.skip()
		}
		shardOf = map[string]string{}
		return doc.object(func(name string) error {
			shard, err := doc.text()
			if err != nil {
				return err
			}
			if !beside(shard) {
				return doc.damaged("tensor %q is given to the shard %q, and a shard must be a %s file beside the index; do not use an index that you do not trust", shorten.Text(name), shorten.Text(shard), extension)
			}
			shardOf[name] = shard
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if err := doc.end(); err != nil {
		return nil, err
	}
	if len(shardOf) == 0 {
		return nil, doc.damaged("no weight_map, or an empty one; this is not the index of a safetensors checkpoint")
	}
	return shardOf, nil
}

// beside reports whether a shard's name can only be a file in the index's own
// folder, on every system.
func beside(shard string) bool {
	return strings.HasSuffix(shard, extension) && !strings.ContainsAny(shard, "/\\:\x00") && filepath.IsLocal(shard)
}
