package prose

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

//go:embed *.txt
var grammars embed.FS

// Theme is what one paragraph may be about: sentence templates. Any middle may follow any opening, in any order.
type Theme struct {
	Name                        string
	Openings, Middles, Closings []string
}

// slots are the words that a template may ask for. The people and their pronouns are filled in for each paragraph.
var slots = map[string][]string{
	"month":   {"January", "February", "March", "April", "May", "June", "July", "September", "October", "November"},
	"weekday": {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"},
	"season":  {"spring", "summer", "autumn", "winter"},
	"n":       {"two", "three", "four", "five", "six", "seven", "nine", "ten", "twelve"},
	"big":     {"twenty", "thirty", "forty", "fifty", "sixty"},
	"colour":  {"blue", "green", "red", "yellow", "white", "brown", "grey"},
	"age":     {"nineteen", "twenty", "twenty-two", "twenty-six", "thirty-one"},
}

// personSlots are the slots that a person fills.
var personSlots = []string{"who", "friend", "town", "he", "him", "his", "He", "His"}

type person struct{ name, he, him, his string }

var people = []person{
	{"Agnes Morrow", "she", "her", "her"}, {"Bertil Vane", "he", "him", "his"}, {"Clara Winnow", "she", "her", "her"},
	{"Dorian Pell", "he", "him", "his"}, {"Edith Larkin", "she", "her", "her"}, {"Fergus Tolley", "he", "him", "his"},
	{"Greta Holm", "she", "her", "her"}, {"Hollis Brand", "he", "him", "his"}, {"Ida Fenwick", "she", "her", "her"},
	{"Jonas Reed", "he", "him", "his"}, {"Katrin Oake", "she", "her", "her"}, {"Lewis Marr", "he", "him", "his"},
	{"Maud Sallow", "she", "her", "her"}, {"Nils Carver", "he", "him", "his"}, {"Olive Trent", "she", "her", "her"},
	{"Piers Hallam", "he", "him", "his"}, {"Ruth Quill", "she", "her", "her"}, {"Silas Thorne", "he", "him", "his"},
}

var friends = []string{"Abel", "Bess", "Conrad", "Dinah", "Emil", "Flora", "Gus", "Hester", "Ivo", "June", "Kit", "Lena"}

// Themes reads the grammars that the package carries, in the order of their names, and checks every template.
func Themes() ([]Theme, error) {
	names, err := fs.Glob(grammars, "*.txt")
	if err != nil {
		return nil, fmt.Errorf("prose: listing the themes: %w", err)
	}
	var themes []Theme
	for _, name := range names {
		data, err := fs.ReadFile(grammars, name)
		if err != nil {
			return nil, fmt.Errorf("%s: reading a theme: %w", name, err)
		}
		t, err := ParseTheme(name, data)
		if err != nil {
			return nil, err
		}
		themes = append(themes, t)
	}
	if len(themes) < 2 {
		return nil, fmt.Errorf("prose: found %d themes, expected two or more files NAME.txt", len(themes))
	}
	return themes, nil
}

// ParseTheme reads one grammar; file is its name for errors, which say the line.
func ParseTheme(file string, data []byte) (Theme, error) {
	t := Theme{Name: strings.TrimSuffix(path.Base(file), ".txt")}
	sections := map[string]*[]string{"openings": &t.Openings, "middles": &t.Middles, "closings": &t.Closings}
	var section *[]string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		if title, ok := strings.CutPrefix(line, "== "); ok {
			if section = sections[title]; section == nil {
				return t, fmt.Errorf("%s:%d: section %q, expected openings, middles or closings", file, number, title)
			}
			continue
		}
		if section == nil {
			return t, fmt.Errorf("%s:%d: a sentence before any section; start the file with == openings", file, number)
		}
		if err := checkTemplate(line); err != nil {
			return t, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		*section = append(*section, line)
	}
	if err := lines.Err(); err != nil {
		return t, fmt.Errorf("%s: reading the lines: %w", file, err)
	}
	for title, sentences := range sections {
		if len(*sentences) == 0 {
			return t, fmt.Errorf("%s: section %q is empty; write sentences below == %s", file, title, title)
		}
	}
	return t, nil
}

// checkTemplate refuses a template with an unknown slot or an unclosed bracket, by filling it once.
func checkTemplate(template string) error {
	known := map[string]string{}
	for name, words := range slots {
		known[name] = words[0]
	}
	for _, name := range personSlots {
		known[name] = "x"
	}
	_, err := expand(template, func(name string) (string, bool) {
		word, ok := known[name]
		return word, ok
	}, func(int) int { return 0 })
	return err
}

// expand fills a template: lookup gives the word of a slot, choose picks one of n alternatives.
func expand(template string, lookup func(string) (string, bool), choose func(n int) int) (string, error) {
	var out strings.Builder
	for rest := template; ; {
		at := strings.IndexAny(rest, "{[")
		if at < 0 {
			out.WriteString(rest)
			return out.String(), nil
		}
		out.WriteString(rest[:at])
		closing := map[byte]string{'{': "}", '[': "]"}[rest[at]]
		length := strings.Index(rest[at:], closing)
		if length < 0 {
			return "", fmt.Errorf("%q: no %q closes %q", template, closing, rest[at:])
		}
		inner := rest[at+1 : at+length]
		if rest[at] == '[' {
			words := strings.Split(inner, "|")
			out.WriteString(words[choose(len(words))])
		} else {
			word, ok := lookup(inner)
			if !ok {
				return "", fmt.Errorf("%q: unknown slot {%s}; known are %s", template, inner, strings.Join(slotNames(), ", "))
			}
			out.WriteString(word)
		}
		rest = rest[at+length+1:]
	}
}

// slotNames lists every slot a template may use, sorted.
func slotNames() []string {
	names := slices.Clone(personSlots)
	for name := range slots {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// deck deals the items of a list in random order, and shuffles again when all have been dealt.
type deck[T any] struct {
	items []T
	next  int
	rng   *rand.Rand
}

func newDeck[T any](items []T, rng *rand.Rand) *deck[T] {
	return &deck[T]{items: slices.Clone(items), rng: rng}
}

func (d *deck[T]) deal() T {
	if d.next%len(d.items) == 0 {
		d.rng.Shuffle(len(d.items), func(i, j int) { d.items[i], d.items[j] = d.items[j], d.items[i] })
		d.next = 0
	}
	d.next++
	return d.items[d.next-1]
}
