package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"headinfer/stages/table"
)

func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 2))
}

var columns = []table.Column{{"id", table.Text}, {"text", table.Text}, {"n", table.Whole}, {"x", table.Number}, {"all", table.Texts}}

// word is text with everything in it that a format may trip over.
func word(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString([]string{"a", `"`, ",", "\n", "\r\n", "\r", "é", "漢", "\x00", " ", "\\", "'", ";", "\t", "", "😀"}[r.IntN(16)])
	}
	return b.String()
}

// rows makes rows, and how they should come back.
func rows(r *rand.Rand, n int, maybe bool) (in [][]any, want []map[string]any) {
	for i := range n {
		row := []any{fmt.Sprintf("row %d", i), word(r), int64(r.Uint64()), r.NormFloat64(), []string{}}
		texts := make([]string, r.IntN(3))
		list := make([]any, len(texts))
		for k := range texts {
			texts[k] = word(r)
			list[k] = texts[k]
		}
		row[4] = texts
		back := map[string]any{"id": row[0], "text": row[1], "n": row[2], "x": row[3], "all": list}
		for c := 1; c < len(row) && maybe; c++ {
			if r.IntN(5) == 0 {
				row[c], back[columns[c].Name] = nil, nil
			}
		}
		in, want = append(in, row), append(want, back)
	}
	return in, want
}

func write(t *testing.T, w table.Writer, err error, in [][]any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range in {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// read takes all rows; what cannot be used is in bad by its number. The error
// is what ended the file early.
func read(r table.Reader) (rows []map[string]any, bad map[int64]string, err error) {
	bad = map[int64]string{}
	for {
		row, err := r.Next()
		var wrong *table.RowError
		switch {
		case errors.As(err, &wrong):
			bad[wrong.Number] = wrong.Err.Error()
		case errors.Is(err, io.EOF) && err.Error() == "EOF":
			return rows, bad, nil
		case err != nil:
			return rows, bad, err
		default:
			rows = append(rows, row.Values)
		}
	}
}

func compare(t *testing.T, got, want []map[string]any) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, and %d were written", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("row %d: %#v\nexpected %#v", i+1, got[i], want[i])
		}
	}
}

const limit = 1 << 30

func openParquet(t *testing.T, data []byte, columns ...string) (table.Reader, error) {
	t.Helper()
	return table.Parquet(t.Context(), bytes.NewReader(data), int64(len(data)), table.ParquetOptions{Columns: columns, Limit: limit, Block: 4096})
}

func TestParquetRoundTrip(t *testing.T) {
	r := random(t)
	for _, codec := range []string{"none", "snappy", "gzip", "zstd"} {
		in, want := rows(r, r.IntN(3000), true)
		var file bytes.Buffer
		w, err := table.NewParquet(&file, columns, codec)
		write(t, w, err, in)
		reader, err := openParquet(t, file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got, bad, err := read(reader)
		if err != nil || len(bad) > 0 {
			t.Fatalf("%s: %v, %v", codec, bad, err)
		}
		compare(t, got, want)
		reader.Close()
	}
	if _, err := table.NewParquet(io.Discard, columns, "lzma"); err == nil {
		t.Error("an unknown compression was taken")
	}
}

func TestParquetReadsOnlyTheColumnsAskedFor(t *testing.T) {
	in, _ := rows(random(t), 10, false)
	var file bytes.Buffer
	w, err := table.NewParquet(&file, columns, "zstd")
	write(t, w, err, in)
	reader, err := openParquet(t, file.Bytes(), "all", "id")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got, _, err := read(reader)
	if err != nil || len(got) != 10 || len(got[3]) != 2 || got[3]["id"] != "row 3" {
		t.Errorf("%v, %v", got, err)
	}
	if names := reader.Columns(); !reflect.DeepEqual(names, []string{"id", "all"}) {
		t.Errorf("the columns %q", names)
	}
}

func TestArrowRoundTrip(t *testing.T) {
	r := random(t)
	for _, n := range []int{0, 1, 1 + r.IntN(5000)} {
		in, want := rows(r, n, true)
		var file bytes.Buffer
		w, err := table.NewArrow(&file, columns)
		write(t, w, err, in)
		data := file.Bytes()
		for name, source := range map[string]io.Reader{
			"whole": bytes.NewReader(data), "in pieces": iotest.HalfReader(bytes.NewReader(data)),
			"as a stream": bytes.NewReader(data[8:]), "by places": nil,
		} {
			reader, err := table.Arrow(readable(source), limit)
			if name == "by places" {
				reader, err = table.ArrowFile(bytes.NewReader(data), int64(len(data)), limit)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, bad, err := read(reader)
			if err != nil || len(bad) > 0 {
				t.Fatalf("%s: %v, %v", name, bad, err)
			}
			compare(t, got, want)
			reader.Close()
		}
	}
}

// readable is a reader that is there.
func readable(r io.Reader) io.Reader {
	if r == nil {
		return strings.NewReader("")
	}
	return r
}

func TestCSVRoundTrip(t *testing.T) {
	r := random(t)
	in, want := rows(r, 2000, false)
	var file bytes.Buffer
	w, err := table.NewCSV(&file, columns)
	write(t, w, err, in)
	for _, mark := range []string{"", "\ufeff"} {
		reader, err := table.CSV(strings.NewReader(mark+file.String()), table.CSVOptions{Separator: ',', Header: true, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		got, bad, err := read(reader)
		if err != nil || len(bad) > 0 {
			t.Fatal(bad, err)
		}
		for i := range got {
			if got[i]["id"] != want[i]["id"] || got[i]["text"] != want[i]["text"] {
				t.Fatalf("row %d: %#v\nexpected %#v", i+1, got[i], want[i])
			}
			if n := fmt.Sprint(want[i]["n"]); got[i]["n"] != n {
				t.Fatalf("row %d: %v, expected %v", i+1, got[i]["n"], n)
			}
		}
	}
}

func TestCSVRecords(t *testing.T) {
	long := strings.Repeat("x", 100)
	text := "a;b\n1;2\r\n\n\"x\"\"y\nz\";\n3\n\"q\"r;4\n" + long + ";5\n6;\xff\n\"" + long + "\n;\";7\n;\n8;\"\"\nlast;\"open"
	reader, err := table.CSV(iotest.OneByteReader(strings.NewReader(text)), table.CSVOptions{Separator: ';', Header: true, Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	got, bad, err := read(reader)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, []map[string]any{{"a": "1", "b": "2"}, {"a": "x\"y\nz", "b": ""}, {"a": "", "b": ""}, {"a": "8", "b": ""}})
	for number, want := range map[int64]string{3: "1 fields", 4: "after the quote", 5: "longer than max_record", 6: `"b": byte 0`, 7: "longer than", 10: "not closed"} {
		if !strings.Contains(bad[number], want) {
			t.Errorf("row %d: %q; expected %q", number, bad[number], want)
		}
	}
	if len(bad) != 6 {
		t.Errorf("%v", bad)
	}
	reader, err = table.CSV(strings.NewReader("1,2\n3,4"), table.CSVOptions{Separator: ',', Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ = read(reader)
	compare(t, got, []map[string]any{{"1": "1", "2": "2"}, {"1": "3", "2": "4"}})
	if _, err := table.CSV(strings.NewReader("a,a\n"), table.CSVOptions{Separator: ',', Header: true, Limit: 50}); err == nil || !strings.Contains(err.Error(), `two columns are named "a"`) {
		t.Error(err)
	}
	reader, err = table.CSV(strings.NewReader(""), table.CSVOptions{Separator: ',', Header: true, Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	if got, bad, err := read(reader); len(got) > 0 || len(bad) > 0 || err != nil {
		t.Error("an empty file:", got, bad, err)
	}
}

// TestManyFields refuses a record of nothing but fields before they take memory.
func TestManyFields(t *testing.T) {
	for name, text := range map[string]string{"header": strings.Repeat(",", 1<<16), "record": "a,b\n" + strings.Repeat(",", 1<<16) + "\n1,2\n"} {
		r, err := table.CSV(strings.NewReader(text), table.CSVOptions{Separator: ',', Header: true, Limit: 1 << 30})
		if err == nil {
			_, err = r.Next()
			if row, next := r.Next(); next != nil || row.Values["b"] != "2" {
				t.Errorf("after it: %v, %v", row, next)
			}
		}
		if err == nil || !strings.Contains(err.Error(), "more than 65536 fields") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJSONLinesWithAMark reads the first line of a file that says what it is.
func TestJSONLinesWithAMark(t *testing.T) {
	r := table.JSONLines(strings.NewReader("\ufeff{\"id\":\"a\"}\n{\"id\":\"b\"}\n"), 100, "id")
	for _, want := range []string{"a", "b"} {
		if row, err := r.Next(); err != nil || row.Values["id"] != want {
			t.Errorf("%v, %v, expected %s", row, err, want)
		}
	}
}

func TestJSONLines(t *testing.T) {
	text := `{"id":9007199254740993,"n":1.5}` + "\n\n[1]\n" + `{"id":"` + strings.Repeat("y", 99) + `"}` + "\r\n" + `{"id":1.5}` + "\n" + `{"id":"last"}`
	got, bad, err := read(table.JSONLines(iotest.HalfReader(strings.NewReader(text)), 60, "id"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, []map[string]any{{"id": int64(9007199254740993), "n": 1.5}, {"id": 1.5}, {"id": "last"}})
	if !strings.Contains(bad[3], "an array") || !strings.Contains(bad[4], "longer than max_line") {
		t.Errorf("%v", bad)
	}
}

// TestALongRecordIsNotKept reads a long line.
func TestALongRecordIsNotKept(t *testing.T) {
	const size = 1 << 30
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	for name, open := range map[string]func(io.Reader) (table.Reader, error){
		"JSON": func(r io.Reader) (table.Reader, error) { return table.JSONLines(r, 1<<20, "id"), nil },
		"CSV": func(r io.Reader) (table.Reader, error) {
			return table.CSV(io.MultiReader(strings.NewReader("id\n"), r), table.CSVOptions{Separator: ',', Header: true, Limit: 1 << 20})
		},
	} {
		reader, err := open(io.MultiReader(io.LimitReader(letters{}, size), strings.NewReader("\n{}\n")))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, bad, err := read(reader)
		runtime.ReadMemStats(&after)
		if err != nil || len(got) != 1 || !strings.Contains(bad[1], "longer") {
			t.Errorf("%s: %d rows, %v, %v", name, len(got), bad, err)
		}
		if grown := after.Sys - before.Sys; grown > 64<<20 {
			t.Errorf("%s: it took %d MiB", name, grown>>20)
		}
	}
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestDamagedFiles cuts files, which is an error, and turns bits over, which is
// no panic and no more than can be had.
func TestDamagedFiles(t *testing.T) {
	r := random(t)
	in, want := rows(r, 300, true)
	var parquet, arrow bytes.Buffer
	w, err := table.NewParquet(&parquet, columns, "snappy")
	write(t, w, err, in)
	w, err = table.NewArrow(&arrow, columns)
	write(t, w, err, in)
	formats := map[string]struct {
		data []byte
		open func([]byte) (table.Reader, error)
	}{
		"Parquet": {parquet.Bytes(), func(data []byte) (table.Reader, error) { return openParquet(t, data) }},
		"Arrow":   {arrow.Bytes(), func(data []byte) (table.Reader, error) { return table.Arrow(bytes.NewReader(data), 1<<26) }},
		"Arrow by places": {arrow.Bytes(), func(data []byte) (table.Reader, error) {
			return table.ArrowFile(bytes.NewReader(data), int64(len(data)), 1<<26)
		}},
	}
	for name, f := range formats {
		for range 150 {
			data := f.data[:r.IntN(len(f.data))]
			if got, _, err := drain(f.open, data); err == nil {
				t.Fatalf("%s: cut at byte %d of %d, and read to the end: %d rows", name, len(data), len(f.data), len(got))
			}
			data = bytes.Clone(f.data)
			for range 1 + r.IntN(3) {
				data[r.IntN(len(data))] ^= 1 << r.IntN(8)
			}
			// Neither format has checksums everywhere, so that values and even counts may be wrong.
			if got, bad, _ := drain(f.open, data); len(got)+len(bad) > len(want) {
				t.Fatalf("%s: damaged, and %d rows of %d came", name, len(got), len(want))
			}
		}
	}
}

func drain(open func([]byte) (table.Reader, error), data []byte) ([]map[string]any, map[int64]string, error) {
	reader, err := open(data)
	if err != nil {
		return nil, nil, err
	}
	defer reader.Close()
	return read(reader)
}

// TestALargeFileIsStreamed writes and reads more than memory may grow by.
func TestALargeFileIsStreamed(t *testing.T) {
	r := random(t)
	const n, size = 300, 1 << 20
	texts := make([]byte, size)
	for i := range texts {
		texts[i] = byte('a' + r.IntN(26))
	}
	write := func(w table.Writer, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := w.Write([]any{fmt.Sprint(i), string(texts)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	two := columns[:2]
	var parquet, arrow bytes.Buffer
	write(table.NewParquet(&parquet, two, "none"))
	write(table.NewArrow(&arrow, two))
	for name, open := range map[string]func() (table.Reader, error){
		"Parquet": func() (table.Reader, error) { return openParquet(t, parquet.Bytes()) },
		"Arrow":   func() (table.Reader, error) { return table.Arrow(bytes.NewReader(arrow.Bytes()), limit) },
	} {
		reader, err := open()
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var before, during runtime.MemStats
		runtime.ReadMemStats(&before)
		most := uint64(0)
		for i := range n {
			row, err := reader.Next()
			if err != nil || len(row.Values["text"].(string)) != size || row.Values["id"] != fmt.Sprint(i) {
				t.Fatalf("%s, row %d: %v", name, i+1, err)
			}
			if i%50 == 10 {
				runtime.GC()
				runtime.ReadMemStats(&during)
				most = max(most, during.HeapAlloc)
			}
		}
		if most > before.HeapAlloc+100<<20 {
			t.Errorf("%s: %d MiB of %d are held", name, (most-before.HeapAlloc)>>20, n*size>>20)
		}
		t.Logf("%s: %d MiB held", name, (int64(most)-int64(before.HeapAlloc))>>20)
		reader.Close()
	}
}
