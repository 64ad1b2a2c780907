package report

import (
	"fmt"
	"regexp"
	"slices"

	"headinfer/eval"
)

// Page is what a report says.
type Page struct {
	Title    string
	Lead     string // a sentence or two under it
	Facts    []Fact // where, with what and when, so that any figure can be had again
	Sections []Section
}

// Fact is a name and what it stands for.
type Fact struct {
	Name, Value string
	Code        bool // in letters of one width, such as a command
}

// Section is parts under a heading.
type Section struct {
	Title string
	Parts []Part
}

// A Part is a [Text], a [List], a [Table] or a [Picture].
type Part interface{ check() error }

// Text is a paragraph.
type Text string

// List is short statements, such as footnotes.
type List []string

// Table is rows of cells, all as long as Columns.
type Table struct {
	Caption string
	Columns []Column
	Rows    [][]string
	By      string // the name of a column: rows in turn that have the same there belong together
}

// Column says what the cells below it are.
type Column struct {
	Group string // over columns side by side that have the same; may be empty
	Name  string
	Unit  string // of all cells; may be empty
	Text  bool   // words, which are set to the left; figures are set to the right
}

// Picture is a drawing and what it shows.
type Picture struct {
	Name    string // of its files, without an extension
	Caption string
	Alt     string // the same for who cannot see it, with its main figures
	Small   bool   // it may stand beside others
	Draw    eval.Picture
}

func (Text) check() error { return nil }
func (List) check() error { return nil }

func (t Table) check() error {
	for i, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return fmt.Errorf("table %q: row %d has %d cells for %d columns", t.Caption, i+1, len(row), len(t.Columns))
		}
	}
	return nil
}

// begins says of each row whether it is the first of those that belong together, but
// for the table's first.
func (t Table) begins() []bool {
	all := make([]bool, len(t.Rows))
	by := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == t.By })
	for i := 1; i < len(t.Rows) && by >= 0; i++ {
		all[i] = t.Rows[i][by] != t.Rows[i-1][by]
	}
	return all
}

// fileName is what a picture's may be.
var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

func (p Picture) check() error {
	switch {
	case !fileName.MatchString(p.Name):
		return fmt.Errorf("picture %q: its name is that of files; expected lower-case letters, digits and -", p.Name)
	case p.Draw == nil:
		return fmt.Errorf("picture %q: there is nothing to draw", p.Name)
	case p.Alt == "":
		return fmt.Errorf("picture %q: no words for who cannot see it", p.Name)
	}
	return nil
}

// pictures returns all of them, in order.
func (p *Page) pictures() (all []Picture) {
	for _, s := range p.Sections {
		for _, part := range s.Parts {
			if picture, ok := part.(Picture); ok {
				all = append(all, picture)
			}
		}
	}
	return all
}

// check refuses what no page can be made of.
func (p *Page) check() error {
	if p.Title == "" {
		return fmt.Errorf("a page without a title")
	}
	for _, s := range p.Sections {
		for _, part := range s.Parts {
			if err := part.check(); err != nil {
				return fmt.Errorf("section %q: %w", s.Title, err)
			}
		}
	}
	names := map[string]bool{}
	for _, picture := range p.pictures() {
		if names[picture.Name] {
			return fmt.Errorf("two pictures are named %q", picture.Name)
		}
		names[picture.Name] = true
	}
	return nil
}
