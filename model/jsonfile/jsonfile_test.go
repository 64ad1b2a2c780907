package jsonfile

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestUnmarshal(t *testing.T) {
	type inner struct {
		Numbers []float64 `json:"numbers"`
	}
	type file struct {
		Text  string         `json:"text"`
		Whole *int           `json:"whole"`
		Real  float64        `json:"real"`
		Flag  bool           `json:"flag"`
		List  []string       `json:"list"`
		Inner inner          `json:"inner"`
		Map   map[string]int `json:"map"`
		Exact json.Number    `json:"exact"`
	}
	for text, want := range map[string]string{
		`{"text": "é", "whole": -3, "real": 1e3, "flag": true, "list": null, "inner": {"numbers": [1]}, "map": {"a": 1}, "other": []}`: "",
		"\r\n{\r\n}\r\n":                        "",
		``:                                      "the JSON ends too soon, after 0 bytes; the file is cut or damaged",
		`{"text": "a`:                           "the JSON ends too soon, after 11 bytes",
		`{"text": "a"}}`:                        "at byte 14 of 14: this is not JSON",
		`{'text': 1}`:                           "at byte 2 of 11: this is not JSON",
		`[]`:                                    "at byte 1 of 2: it is a list, and must be an object",
		`3`:                                     "it is a number, and must be an object",
		`{"text": 3}`:                           "text is a number, and must be a string",
		`{"text": null, "whole": 1.5}`:          "whole is the number 1.5, and must be a whole number of at most 64 bits",
		`{"whole": 9223372036854775808}`:        "whole is the number 9223372036854775808, and must be a whole number of at most 64 bits",
		`{"real": 1e999}`:                       "real is the number 1e999, and must be a number",
		`{"real": 1` + strings.Repeat("0", 999): "ends too soon",
		`{"flag": 1}`:                           "flag is a number, and must be true or false",
		`{"flag": "true"}`:                      "flag is a string, and must be true or false",
		`{"list": {"a": 1}}`:                    "list is an object, and must be a list",
		`{"list": true}`:                        "list is true or false, and must be a list",
		`{"inner": {"numbers": [1, "2"]}}`:      "inner.numbers is a string, and must be a number",
		`{"exact": []}`:                         "exact is a list, and must be a number",
		`{"map": [1]}`:                          "map is a list, and must be an object",
		"\xef\xbb\xbf{}":                        "it begins with a byte order mark; save it as UTF-8 without one",
		"\xfe\xff\x00{\x00}":                    "it is UTF-16; save it as UTF-8",
		"{\"text\": \"a\xe9b\"}":                "byte 11 of 15, 0xe9, is not valid UTF-8",
		"version https://git-lfs.github.com/spec": "run git lfs pull",
		strings.Repeat("[", 20_000):               "exceeded max depth",
	} {
		var f file
		err := Unmarshal([]byte(text), &f)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.60q: error %v, want one with %q", text, err, want)
		}
	}
}

func TestRepeated(t *testing.T) {
	keys := func(key string) bool { return key != "free" }
	for text, want := range map[string]string{
		`{"a": {"a": 1, "b": 2}, "b": [{"a": 1}], "c": "a"}`: "",
		`{"a": 1, "b": 2, "a": 3}`:                           "a",
		`{"a": {"b": [1]}, "a": {"b": [2]}}`:                 "a",
		`{"a": {"b": [1]}, "a": { "b": [1] }, "b": null}`:    "",
		`{"a": 1, "\u0061": 2}`:                              "a",
		`{"free": 1, "free": 2, "A": 1, "a": 2}`:             "",
		`null`:                                               "",
	} {
		if got, err := Repeated([]byte(text), keys); err != nil || got != want {
			t.Errorf("%s has %q twice (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", `{"a": `, `{"a"`} {
		if _, err := Repeated([]byte(text), keys); err == nil {
			t.Errorf("%q is no JSON, and no error", text)
		}
	}
}
