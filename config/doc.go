// Package config reads pipeline.yaml: the model, the device, and the two lists of stages that make the dataflow.
//
// It knows no stage. A [Vocabulary] says which stages exist at which [Level] and hands out, for each, a pointer to a fresh
// options struct; [Load] fills it. What an option is called, its default, its unit, its bounds, its one-line
// description and an example are tags of the struct's field and nothing else:
//
//	type decodeOptions struct {
//		MaxTokens   int           `yaml:"max_tokens" default:"64" unit:"tokens" doc:"Most tokens to generate." example:"128" min:"1"`
//		Temperature float64       `yaml:"temperature" default:"0" doc:"0 takes the likeliest token." example:"0.7" max:"5"`
//		Chunk       config.Choice `yaml:"chunk" words:"auto" default:"auto" unit:"tokens" doc:"Tokens a pass." example:"8Ki" min:"1"`
//	}
//
// From the same tags come the defaults, the checks, the Markdown page ([Markdown]), the terminal's help ([Text]) and the
// JSON Schema that editors use ([Schema]). [Lint] tells the author of a stage what its tags lack.
//
// A field's type is one of string (with enum: one of some words), bool, int, int64, float64, []string, [Bytes], [Count],
// [Choice], or a struct of these, one level deep. A number without a min tag is at least 0.
//
// # The file
//
// A list entry is `- name`, `- name:` or `- name: { options }`. Beside its own options every stage takes `id` (by default
// the stage's name; unique within its level) and `from` (the id of an entry above; by default the one just above).
// Lines may end as on Windows. Anchors, aliases and merge keys work; tags (!!str) and several documents in a file do not. A file is at most 1 MiB, and
// at most [MaxValues] values after aliases are expanded, so a small file cannot ask for unbounded work.
//
// `${VAR}` and `${VAR:-default}` are replaced in values, never in keys, after the YAML is parsed: positions stay right
// and a variable's text cannot add structure. `$$` is a literal `$`. Inside `{ }` YAML needs quotes around them; a
// quoted value that contains a variable may still be a number.
//
// # Errors
//
// What is wrong with a file is [Problems]: all of them, in the file's order, each with file, line, column, what
// was found, what was expected and the nearest word that would have been right. Lines and columns count from 1, columns in
// Unicode code points. A Position of zeros means a value that came from the command line or a default.
//
// # Ownership
//
// A [Pipeline] belongs to the caller, nothing here keeps it, and Load may be called from several goroutines.
package config
