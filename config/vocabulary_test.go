package config

import "slices"

// The test's own stages: every type of option, both levels.
type filesOptions struct {
	Paths  []string `yaml:"paths" default:"" doc:"Globs of the texts to read." example:"[\"corpus/*.txt\"]"`
	Repeat int64    `yaml:"repeat" default:"1" unit:"times" doc:"How often each is read." example:"2" min:"1" max:"1000"`
}

type promptOptions struct {
	Prompt string `yaml:"prompt" default:"{{.Text}}\n\nQuestion: \"{{.Question}}\" costs $1 | $$ ${X}" doc:"The prompt's template." example:"{{.Text}}\n"`
	Trim   bool   `yaml:"trim" default:"true" doc:"Whether blanks at the ends go." example:"false"`
}

type prefillOptions struct {
	Chunk Choice `yaml:"chunk" default:"auto" unit:"tokens" doc:"Tokens of one pass." example:"8Ki" min:"1" words:"auto,none"`
}

type decodeOptions struct {
	MaxTokens   int      `yaml:"max_tokens" default:"64" unit:"tokens" doc:"Most tokens to generate." example:"128" min:"1" max:"1_000_000"`
	Temperature float64  `yaml:"temperature" default:"0" doc:"0 takes the likeliest token." example:"0.7" max:"5"`
	Bias        float64  `yaml:"bias" default:"-0.5" doc:"Added to every logit." example:"1e-3" min:"-10"`
	Stop        []string `yaml:"stop" default:"[\"\\n\"]" doc:"Texts that end an answer." example:"END"`
	Sampling    struct {
		Seed int `yaml:"seed" default:"-1" doc:"The seed; -1 takes a fresh one." example:"7" min:"-1"`
		Top  int `yaml:"top" default:"0" unit:"tokens" doc:"How many of the likeliest are drawn from; 0 is all." example:"40"`
	} `yaml:"sampling"`
}

// Check refuses to draw from some of the tokens when the temperature draws nothing.
func (o *decodeOptions) Check() []OptionError {
	var bad []OptionError
	if o.Sampling.Top > 0 && o.Temperature == 0 {
		bad = append(bad, OptionError{"sampling.top", "draws, but the temperature is 0", "a temperature over 0, or top: 0"})
	}
	if o.MaxTokens == 13 {
		bad = append(bad, OptionError{"temperature", "is unlucky with 13 tokens", "another number"})
	}
	return bad
}

type ringOptions struct {
	Slots  Choice `yaml:"slots" default:"2" doc:"Tiles held on the device." example:"none" min:"1" max:"64" words:"none"`
	Budget Bytes  `yaml:"budget" default:"0" doc:"Most bytes held; 0 is no limit." example:"1.5GiB" max:"1TiB"`
}

type attentionOptions struct {
	Group Choice `yaml:"group" default:"adaptive" unit:"KV heads" doc:"KV heads of a tile." example:"1" min:"1" words:"all,adaptive"`
	Span  Count  `yaml:"span" default:"32Ki" unit:"tokens" doc:"Tokens of a tile." example:"64k" min:"1"`
}

type offloadOptions struct {
	To string `yaml:"to" default:"host" doc:"Where KV goes." example:"device" enum:"host,device"`
}

type testStage struct {
	doc     StageDoc
	options func() any
}

var testStages = []testStage{
	{StageDoc{Level: Documents, Name: "files", Doc: "Reads texts.", Out: "Document"}, func() any { return new(filesOptions) }},
	{StageDoc{Level: Documents, Name: "tokenize", Doc: "Turns texts into tokens.", In: "Document", Out: "Tokens"}, func() any { return new(promptOptions) }},
	{StageDoc{Level: Documents, Name: "chunked-prefill", Doc: "Fills the KV cache a chunk at a time.", In: "Tokens", Out: "Sequence"}, func() any { return new(prefillOptions) }},
	{StageDoc{Level: Documents, Name: "decode", Doc: "Generates an answer, token by token, until a stop text, the end-of-text token or the most tokens allowed; what comes first.", In: "Sequence", Out: "Answer"}, func() any { return new(decodeOptions) }},
	{StageDoc{Level: Documents, Name: "discard", Doc: "Drops what it gets.", In: "Answer"}, func() any { return nil }},
	{StageDoc{Level: Heads, Name: "prefetch", Doc: "Copies tiles ahead of need.", In: "HeadTask", Out: "HeadTask"}, func() any { return new(ringOptions) }},
	{StageDoc{Level: Heads, Name: "attention", Doc: "Attends to a tile.", In: "HeadTask", Out: "HeadTask"}, func() any { return new(attentionOptions) }},
	{StageDoc{Level: Heads, Name: "offload", Doc: "Writes new K and V to the host.", In: "HeadTask", Lossy: "KV is rounded to 8 bits."}, func() any { return new(offloadOptions) }},
}

func testDocs() []StageDoc {
	docs := make([]StageDoc, len(testStages))
	for i, s := range testStages {
		docs[i] = s.doc
		docs[i].Options = s.options()
	}
	return docs
}

type testVocabulary struct{}

func (testVocabulary) Stages(level Level) []string {
	var names []string
	for _, s := range testStages {
		if s.doc.Level == level {
			names = append(names, s.doc.Name)
		}
	}
	return names
}

func (testVocabulary) Options(level Level, stage string) (any, bool) {
	i := slices.IndexFunc(testStages, func(s testStage) bool { return s.doc.Level == level && s.doc.Name == stage })
	if i < 0 {
		return nil, false
	}
	return testStages[i].options(), true
}
