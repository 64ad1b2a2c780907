package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/storage"
	"headinfer/stages/storage/storagetest"
	"headinfer/stages/table"
)

func compressed(t testing.TB, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := storage.Compress(&b, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "n/a.txt", "one")
	put(t, "n/a.question", " Which one?\n")
	put(t, "n/deep/b.md.gz", compressed(t, "b.md.gz", "# two"))
	put(t, "n/deep/b.question", "Of b?")
	put(t, "n/c.html.zst", compressed(t, "c.zst", "<title>T</title><p>three<script>no</script>"))
	put(t, "n/d.png", "no text")
	put(t, "n/latin.txt", "ab\xff")
	put(t, "n/empty.txt", " \n")
	put(t, "n/script.html", "<style>p {}</style>")
	put(t, "n/long.txt", strings.Repeat("x", 101))
	put(t, "n/cut.txt.gz", compressed(t, "x.gz", "never whole")[:12])
	put(t, "n/gone.txt", "deleted meanwhile")
	source, err := newFiles(nil, with(t, func(o *filesOptions) {
		o.Paths, o.Questions, o.MaxFile = []string{"n"}, []string{"Who?", "Where?"}, 100
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("n/gone.txt"); err != nil {
		t.Fatal(err)
	}
	out := read(t, source)
	both := []string{"Who?", "Where?"}
	want := []Document{
		{ID: "n/a.txt", Text: "one", Question: "Which one?"}, {ID: "n/c.html.zst", Text: "T\n\nthree", Questions: both},
		{ID: "n/deep/b.md.gz", Text: "# two", Question: "Of b?"},
	}
	if len(out.items) != len(want) {
		t.Fatalf("%d documents", len(out.items))
	}
	for i, d := range out.items {
		d.ID = filepath.ToSlash(d.ID)
		if !reflect.DeepEqual(*d, want[i]) {
			t.Errorf("%+v; expected %+v", *d, want[i])
		}
	}
	for id, reason := range map[string]string{
		"n/latin.txt": "byte 2 is not valid UTF-8", "n/empty.txt": "empty", "n/script.html": "empty", "n/long.txt": "longer than max_file",
		"n/cut.txt.gz": "EOF", "n/gone.txt": "no such file",
	} {
		if got := out.dead[filepath.FromSlash(id)]; !strings.Contains(got, reason) {
			t.Errorf("%s: %q; expected %q", id, got, reason)
		}
	}
	if len(out.dead) != 6 {
		t.Errorf("the dead letters %v", out.dead)
	}
}

func TestHTMLText(t *testing.T) {
	page := `<!doctype html><html><head><title>A &amp; B</title><style>x{}</style></head><body>
	<script>if (a < b) { "</p>" }</script><!-- no -->
	<h1>Head</h1><p>One   <b>bold</b>,
	two<br>three</p><ul><li>x<li>y</ul><table><tr><td>1<td>2<tr><td>3<td></table>
	<pre>  kept
	as it is</pre><noscript><p>no</p></noscript>last<svg><text>no</text></svg> word`
	want := "A & B\n\nHead\n\nOne bold, two\nthree\n\nx\ny\n\n1\t2\n3\n\n  kept\n\tas it is\n\nlast word"
	if got, err := htmlText([]byte(page)); err != nil || string(got) != want {
		t.Errorf("%q, %v\nexpected %q", got, err, want)
	}
}

// TestSourcesReadTheSame writes the same records in each format, and reads the
// same documents.
func TestSourcesReadTheSame(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	columns := []table.Column{{Name: "url", Kind: table.Text}, {Name: "body", Kind: table.Text}, {Name: "asked", Kind: table.Texts}, {Name: "lang", Kind: table.Text}, {Name: "other", Kind: table.Text}}
	var want []*Document
	var rows [][]any
	var lines, csv bytes.Buffer
	for i := range 200 {
		d := &Document{ID: fmt.Sprintf("doc %d", i), Text: wordy(r, 1+r.IntN(300)), Fields: map[string]any{"lang": wordy(r, 1)}}
		for range r.IntN(4) {
			d.Questions = append(d.Questions, wordy(r, 5))
		}
		if d.Questions == nil {
			d.Questions = []string{}
		}
		want = append(want, d)
		rows = append(rows, []any{d.ID, d.Text, d.Questions, d.Fields["lang"], "dropped"})
		line, err := json.Marshal(map[string]any{"url": d.ID, "body": d.Text, "asked": d.Questions, "lang": d.Fields["lang"], "other": 1})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	var parquet, arrow bytes.Buffer
	write := func(w table.Writer, err error) {
		t.Helper()
		for _, row := range rows {
			if err == nil {
				err = w.Write(row)
			}
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write(table.NewCSV(&csv, columns))
	write(table.NewParquet(&parquet, columns, "zstd"))
	write(table.NewArrow(&arrow, columns))
	put(t, "d/x.jsonl.zst", compressed(t, "x.zst", lines.String()))
	put(t, "d/x.csv.gz", compressed(t, "x.gz", csv.String()))
	put(t, "d/x.parquet", parquet.String())
	put(t, "d/x.arrow", arrow.String())
	put(t, "d/y.arrow.gz", compressed(t, "y.gz", arrow.String()))
	store.Put("p/x.parquet", parquet.Bytes())
	store.Put("p/x.arrow", arrow.Bytes())
	store.Put("p/x.csv", csv.Bytes())
	store.Unavailable, store.Cut = 0.02, 0.3
	mapped := columnOptions{ID: "url", Text: "body", Question: "question", Questions: "asked", Fields: []string{"lang"}}
	open := map[string]func(path string) (graph.Source[*Document], error){
		".jsonl": func(path string) (graph.Source[*Document], error) {
			return newReadJSONL(nil, with(t, func(o *readJSONLOptions) { o.Path, o.Columns = []string{path}, mapped }))
		},
		".csv": func(path string) (graph.Source[*Document], error) {
			return newReadCSV(nil, with(t, func(o *readCSVOptions) { o.Path, o.Columns = []string{path}, mapped }))
		},
		".parquet": func(path string) (graph.Source[*Document], error) {
			return newReadParquet(nil, with(t, func(o *readParquetOptions) { o.Path, o.Columns = []string{path}, mapped }))
		},
		".arrow": func(path string) (graph.Source[*Document], error) {
			return newReadArrow(nil, with(t, func(o *readArrowOptions) { o.Path, o.Columns = []string{path}, mapped }))
		},
	}
	check := func(path string) {
		t.Helper()
		source, err := open[storage.Extension(path)](path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out := read(t, source)
		if len(out.items) != len(want) || len(out.dead) > 0 {
			t.Fatalf("%s: %d documents, %v", path, len(out.items), out.dead)
		}
		for i, d := range out.items {
			if len(d.Questions) == 0 {
				d.Questions = []string{}
			}
			if !reflect.DeepEqual(d, want[i]) {
				t.Fatalf("%s: %+v\nexpected %+v", path, d, want[i])
			}
		}
	}
	for _, path := range []string{"d/*.jsonl.zst", "d/x.csv.gz", "**/*.parquet", "d/x.arrow", "d/y.arrow.gz", store.Path("p/*.parquet"), store.Path("**/x.arrow"), store.Path("p/x.csv")} {
		check(path)
	}
	for again := 0; store.Count("cut") == 0; again++ { // few reads may all have gone well
		if again == 100 {
			t.Fatal("the store cut nothing")
		}
		check(store.Path("p/x.csv"))
	}
}

// TestRecordsThatCannotBeUsed has each of them in the dead letters, and the
// others go on.
func TestRecordsThatCannotBeUsed(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "a.jsonl", `{"id":12345678901234567,"text":"whole number"}
{"id":1.5,"text":"x"}
{"id":true,"text":"x"}
{"text":"both","question":"a","questions":["b"]}
{"text":"not a list","questions":{"a":1}}
{"text":"a number in it","questions":["a",1]}
{"text":"an empty one","questions":["a"," "]}
{"text":"a text","questions":"one\n\ntwo"}
{"text":"none","question":null,"questions":[],"id":null}
{"text":3}
`)
	put(t, "b.csv", "id,text\nz,last\n,nameless\n")
	put(t, "c.csv", "name,words\na,b\n")
	put(t, "gone.csv", "id,text\n")
	source, err := newReadJSONL(nil, with(t, func(o *readJSONLOptions) { o.Path = []string{"a.jsonl"} }))
	if err != nil {
		t.Fatal(err)
	}
	out := read(t, source)
	var ids []string
	for _, d := range out.items {
		ids = append(ids, d.ID+fmt.Sprintf("%q", d.Questions))
	}
	if got, want := strings.Join(ids, " "), `12345678901234567[] a.jsonl:8["one" "two"] a.jsonl:9[]`; got != want {
		t.Errorf("%s; expected %s", got, want)
	}
	for row, want := range map[int]string{
		2: "is a number; expected a string or a whole number", 3: "is a boolean", 4: `both a "question" and "questions"`, 5: "an object; expected a list",
		6: "has a number as number 2", 7: "has an empty question, number 2", 10: `"text" is a number`,
	} {
		if got := out.dead[fmt.Sprintf("a.jsonl:%d", row)]; !strings.Contains(got, want) {
			t.Errorf("row %d: %q; expected %q", row, got, want)
		}
	}
	source, err = newReadCSV(nil, with(t, func(o *readCSVOptions) { o.Path = []string{"*.csv"} }))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("gone.csv"); err != nil {
		t.Fatal(err)
	}
	out = read(t, source)
	if len(out.items) != 2 || out.items[0].ID != "z" || out.items[1].ID != "b.csv:2" {
		t.Errorf("%+v", out.items)
	}
	if !strings.Contains(out.dead["c.csv"], `no column "text", but ["name" "words"]`) || !strings.Contains(out.dead["gone.csv"], "no such file") || len(out.dead) != 2 {
		t.Errorf("%v", out.dead)
	}
}

// TestADamagedFileCostsItsRest reads a Parquet file whose second row group is
// damaged, and the file behind it.
func TestADamagedFileCostsItsRest(t *testing.T) {
	t.Chdir(t.TempDir())
	var file bytes.Buffer
	w, err := table.NewParquet(&file, []table.Column{{Name: "text", Kind: table.Text}}, "none")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := w.Write([]any{fmt.Sprint(i) + strings.Repeat("x", 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, "b.parquet", file.String())
	data := file.Bytes()
	for i := len(data) / 2; i < len(data)*9/10; i++ {
		data[i] = 0xee
	}
	put(t, "a.parquet", string(data))
	put(t, "c.parquet", "none at all")
	source, err := newReadParquet(nil, with(t, func(o *readParquetOptions) { o.Path = []string{"*.parquet"} }))
	if err != nil {
		t.Fatal(err)
	}
	out := read(t, source)
	if n := len(out.items); n < 25 || n > 39 {
		t.Errorf("%d documents of the 20 that are whole and of those before the damage", n)
	}
	if out.dead["a.parquet"] == "" || out.dead["c.parquet"] == "" || len(out.dead["b.parquet"]) > 0 {
		t.Errorf("%v", out.dead)
	}
}

func TestStandardInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	if _, err := w.WriteString(`{"text":"one"}` + "\n\n" + `{"id":"b","text":"two"}`); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	source, err := newReadJSONL(nil, with(t, func(o *readJSONLOptions) { o.Path = []string{"-"} }))
	if err != nil {
		t.Fatal(err)
	}
	if out := read(t, source); len(out.items) != 2 || !strings.HasPrefix(out.items[0].ID, "stdin:1-") || out.items[0].ID == "stdin:1-" || out.items[1].ID != "b" {
		t.Errorf("%+v, %v", out.items, out.dead)
	}
}

// TestASourceStops checks that a source returns when the run is cancelled.
func TestASourceStops(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "a.jsonl", strings.Repeat(`{"text":"x"}`+"\n", 1000))
	source, err := newReadJSONL(nil, with(t, func(o *readJSONLOptions) { o.Path = []string{"a.jsonl"} }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err = source.Produce(ctx, func(*Document) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 10 {
		t.Errorf("%v after %d documents", err, n)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for _, c := range []struct {
		options config.Checker
		option  string
	}{
		{&filesOptions{}, "paths"},
		{&filesOptions{Paths: []string{"[a"}}, "paths"},
		{&filesOptions{Paths: []string{"s3://"}}, "paths"},
		{&filesOptions{Paths: []string{"a"}, Question: "x", Questions: []string{"y"}}, "questions"},
		{&readCSVOptions{Path: []string{"a"}, Separator: ";;", Columns: columnOptions{"a", "b", "c", "d", nil}}, "separator"},
		{&readCSVOptions{Path: []string{"a"}, Columns: columnOptions{"a", "b", "a", "d", nil}}, "columns.question"},
		{&readParquetOptions{Path: []string{"a.parquet.gz"}, Columns: columnOptions{"a", "b", "c", "d", nil}}, "path"},
		{&readArrowOptions{Columns: columnOptions{"a", "b", "c", "d", nil}}, "path"},
		{&parquetOptions{Path: "a.parquet.zst"}, "path"},
		{&csvOptions{Path: "s3://bucket"}, "path"},
		{&csvOptions{Path: "a.csv", State: "b"}, "state"},
		{&arrowOptions{}, "path"},
		{&directoryOptions{Path: "d", Extension: "txt"}, "extension"},
		{&directoryOptions{Path: "d", Extension: ".jsonl"}, "extension"},
		{&mapOptions{}, "text"},
		{&mapOptions{Text: "{{.Txet}}"}, "text"},
		{&mapOptions{Question: "{{"}, "question"},
		{&mapOptions{Fields: []string{"{{.Text}}"}}, "fields"},
		{&mapOptions{Text: `{{env "HOME"}}`}, "text"},
		{&filterOptions{}, "when"},
		{&filterOptions{Match: "("}, "match"},
		{&filterOptions{MinLength: 5, MaxLength: 4}, "max_length"},
		{&splitOptions{Tokens: 100, Overlap: 51}, "overlap"},
		{&teeOptions{}, "path"},
	} {
		bad := c.options.Check()
		if len(bad) != 1 || bad[0].Option != c.option || bad[0].Want == "" {
			t.Errorf("%+v: %+v; expected one about %s", c.options, bad, c.option)
		}
	}
}
