// Package builtin holds the model that headinfer carries: a Llama of 3.9 M
// parameters that finds facts planted in long texts, laid out as a Hugging Face
// directory. README.md is its card; tools/train made it.
package builtin

import "embed"

// Files are the model's directory.
//
//go:embed README.md config.json tokenizer.json tokenizer_config.json model.safetensors
var Files embed.FS
