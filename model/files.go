package model

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"headinfer/model/jsonfile"
	"headinfer/model/mapped"
)

// The most bytes of a model's files that are no weights: several times what the
// largest have.
const (
	maxConfigBytes    = 16 << 20
	maxTokenizerBytes = 128 << 20
)

// readSmall reads a file that is no weights. It does not wait for a pipe, nor
// read a device without end.
func readSmall(path string) ([]byte, error) {
	most := int64(maxConfigBytes)
	if strings.HasPrefix(filepath.Base(path), "tokenizer") {
		most = maxTokenizerBytes
	}
	return mapped.ReadFile(path, most)
}

// configFields are the keys of config.json that are read.
var configFields = func() map[string]bool {
	fields := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[hfConfig]()) {
		if key := field.Tag.Get("json"); key != "" {
			fields[key] = true
		}
	}
	return fields
}()

// nothingTwice refuses a config.json, or its text_config, that has a key twice
// which is read, with different values: decoders take the first, the last, or parts
// of both.
func nothingTwice(config []byte) error {
	key, err := jsonfile.Repeated(config, func(key string) bool { return configFields[key] })
	if err == nil && key != "" {
		err = fmt.Errorf("%s is there twice; remove the wrong one", key)
	}
	return err
}
