package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// longBenchRecord is a record as LongBench v2 has it.
func longBenchRecord(id string) map[string]any {
	return map[string]any{
		"_id": id, "domain": "Single-Document QA", "sub_domain": "Literary", "difficulty": "hard", "length": "medium",
		"question": "Who keeps the key? ", "choice_A": "The miller", "choice_B": "Nobody", "choice_C": " A ferryman", "choice_D": "The clerk",
		"answer": "C", "context": "\nAt Orrin the ferryman keeps the key.\n",
	}
}

// choiceRecord is a record as SCBench has it where there are options.
func choiceRecord() map[string]any {
	options := []any{"the miller", "nobody", "a ferryman", "the clerk"}
	return map[string]any{
		"id": 4, "context": "At Orrin a ferryman keeps the key, and nobody keeps the book.",
		"multi_turns": []any{
			map[string]any{"input": "Who keeps the key?", "answer": "a ferryman", "options": options},
			map[string]any{"input": "Who keeps the book?", "answer": "nobody", "options": options},
		},
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func given(t *testing.T, name string) Task {
	t.Helper()
	task, ok := Find(name)
	if !ok || !task.Given() {
		t.Fatalf("%s is not a task with given texts", name)
	}
	return task
}

// read writes a file and reads it.
func read(t *testing.T, task, file, text string) ([]Sample, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Read(given(t, task), path)
}

// TestReadLongBench reads the same records from every form that a file of JSON may have.
func TestReadLongBench(t *testing.T) {
	one, two := longBenchRecord("66a"), longBenchRecord("66b")
	two["difficulty"], two["length"], two["answer"], two["more"] = "easy", "long", "A", json.Number("1e999")
	indented, err := json.MarshalIndent([]any{one, two}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	a, b := encode(t, one), encode(t, two)
	for name, text := range map[string]string{
		"array": "[" + a + "," + b + "]", "indented": string(indented), "lines": a + "\n" + b + "\n", "no last line end": a + "\n" + b,
		"Windows": strings.ReplaceAll(string(indented), "\n", "\r\n"), "Windows lines": a + "\r\n\r\n" + b + "\r\n",
		"byte order mark": "\ufeff[" + a + "," + b + "]\n", "white space": "\n\t [" + a + ",\n" + b + " ] \n",
	} {
		all, err := read(t, "longbench-v2", "data.json", text)
		if err != nil || len(all) != 2 {
			t.Errorf("%s: %d samples, error %v", name, len(all), err)
			continue
		}
		s := all[0]
		if s.Task != "longbench-v2" || s.ID != "66a" || s.Text != "At Orrin the ferryman keeps the key." || !slices.Equal(s.Expected, []string{"C"}) ||
			!slices.Equal(s.Groups, []string{"hard", "medium"}) || !slices.Equal(all[1].Groups, []string{"easy", "long"}) {
			t.Errorf("%s: %+v", name, s)
		}
		if !strings.HasPrefix(s.Question, "Who keeps the key?\n(A) The miller\n(B) Nobody\n(C) A ferryman\n(D) The clerk\n") {
			t.Errorf("%s: question %q", name, s.Question)
		}
		// The question shows the form that a right answer has, which is none itself.
		task := given(t, "longbench-v2")
		form := s.Question[strings.LastIndex(s.Question, "The correct answer is"):]
		if Score(task, form, s.Expected) != 0 || Score(task, strings.Replace(form, "LETTER", "C", 1), s.Expected) != 1 || Score(task, strings.Replace(form, "LETTER", "B", 1), s.Expected) != 0 {
			t.Errorf("the form %q", form)
		}
	}
}

// TestLongBenchDamage takes away, changes and breaks each part of a file: the error names the file, the record and the
// field, what it is and what was expected.
func TestLongBenchDamage(t *testing.T) {
	good := longBenchRecord("66a")
	damaged := func(change func(map[string]any)) string {
		bad := longBenchRecord("66b")
		change(bad)
		return "[" + encode(t, good) + ",\n" + encode(t, bad) + "]"
	}
	cases := map[string]string{}
	for field := range good {
		cases["record 2?: "+field+" is missing; expected a string"] = damaged(func(r map[string]any) { delete(r, field) })
		cases["record 2?: "+field+" is a number; expected a string"] = damaged(func(r map[string]any) { r[field] = json.Number("123456789012345678901234567890") })
		cases["record 2?: "+field+" is null; expected a string"] = damaged(func(r map[string]any) { r[field] = nil })
	}
	for _, field := range []string{"_id", "question", "context"} {
		cases["record 2?: "+field+" is empty; expected text"] = damaged(func(r map[string]any) { r[field] = " \n" })
	}
	whole := damaged(func(map[string]any) {})
	for want, text := range map[string]string{
		`record 2?: answer is "E"; expected A, B, C, D`:                damaged(func(r map[string]any) { r["answer"] = "E" }),
		`record 2?: answer is "c"; expected A`:                         damaged(func(r map[string]any) { r["answer"] = "c" }),
		`record 2?: answer is ""; expected A`:                          damaged(func(r map[string]any) { r["answer"] = "" }),
		`record 2?: length is "huge"; expected short, medium, long`:    damaged(func(r map[string]any) { r["length"] = "huge" }),
		`record 2?: difficulty is "` + strings.Repeat("é", 40) + `…";`: damaged(func(r map[string]any) { r["difficulty"] = strings.Repeat("é", 50) }),
		"the file is empty; expected JSON":                             "",
		"the file is empty; expected JSON, an array":                   " \r\n",
		"the array has no records":                                     "[]",
		"record 1 is a number; expected an object":                     "[1e999]",
		"record 1 is an array; expected an object":                     "[[]]",
		"record 1 is null; expected an object":                         "[null]",
		"record 1: _id is missing":                                     "{}",
		`begins with '"'; expected JSON`:                               `"text"`,
		`begins with 'ÿ'; expected JSON`:                               "\xff\xfe[\x00",
		"record 2: not JSON, near byte":                                whole[:len(whole)-9],
		"after record 2: the array does not end":                       whole[:len(whole)-1],
		"after record 2, at byte":                                      whole + "[]",
		"record 3: not JSON, near byte":                                whole[:len(whole)-1] + ", nonsense]",
		"record 1 is not UTF-8":                                        strings.Replace(encode(t, good), "Orrin", "Orr\xffn", 1),
		"bad.json is a Parquet file; expected JSON, an array":          "PAR1\x15\x04",
		"record 1: not JSON, near byte 0: invalid character 'd'":       "{data}",
		"exceeded max depth":                                           strings.Repeat("[", 20000),
	} {
		cases[want] = text
	}
	for want, text := range cases {
		_, err := read(t, "longbench-v2", "bad.json", text)
		want = strings.Replace(want, "record 2?:", "record 2 (_id 66b):", 1)
		if strings.Contains(want, ": _id is ") {
			want = strings.Replace(want, " (_id 66b)", "", 1)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "longbench-v2: ") || !strings.Contains(err.Error(), "bad.json") {
			t.Errorf("error %v, expected %q", err, want)
		}
	}
}

func TestReadFiles(t *testing.T) {
	if _, err := Read(given(t, "longbench-v2"), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Read(given(t, "longbench-v2"), t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory; name one file of it") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := read(t, "longbench-v2", "data.parquet", "[]"); err == nil || !strings.Contains(err.Error(), "is a Parquet file; expected JSON") {
		t.Errorf("a Parquet file: %v", err)
	}
	vt, _ := Find("vt")
	if _, err := Read(vt, "x"); err == nil || !strings.Contains(err.Error(), "not read from a file") {
		t.Errorf("a task without a file: %v", err)
	}
	if _, err := new(Generator).Sample(given(t, "longbench-v2"), 100, 0, 1); err == nil || !strings.Contains(err.Error(), "take Read") {
		t.Errorf("a task that needs a file: %v", err)
	}
}

// TestReadSCBench reads a record of every task, and answers each question rightly and wrongly.
func TestReadSCBench(t *testing.T) {
	turn := func(input string, answer any) map[string]any { return map[string]any{"input": input, "answer": answer} }
	for task, c := range map[string]struct {
		record map[string]any
		right  string
		wrong  string
	}{
		"scbench_kv": {map[string]any{"id": 0, "context": `{"k1": "V-1"}`,
			"multi_turns": []any{turn(`Key: "k1"`, "V-1"), turn(`Key: "k2"`, "V-1")}}, "It is V-1.", "It is v-1."},
		"scbench_prefix_suffix": {map[string]any{"context": "abcXdef ab12", "multi_turns": []any{turn("From ab to ef:", "abcXdef ")}}, "abcXdef", "abcxdef"},
		"scbench_vt":            {map[string]any{"input": "VAR A = 12. VAR B = A.", "length": 9, "multi_turns": []any{turn("Which are 12?", []any{"A", "B"})}}, "b, a", "c"},
		"scbench_qa_eng":        {map[string]any{"context": "A novel.", "multi_turns": []any{turn("Who?", "Tam Weaver")}}, "It was tam weaver", "It was Tam"},
		"scbench_qa_chn":        {map[string]any{"context": "一本书。", "multi_turns": []any{turn("谁？", "韦弗")}}, "韦弗。", "无"},
		"scbench_many_shot":     {map[string]any{"context": "Cases.", "task": "dates", "multi_turns": []any{turn("Which day?", "(B) Monday")}}, "(B)", "(A) Monday"},
		"scbench_choice_eng":    {choiceRecord(), "The correct answer is (C).", "The correct answer is (D)."},
	} {
		all, err := read(t, task, "x.jsonl", encode(t, c.record)+"\n"+encode(t, c.record)+"\n")
		turns := len(c.record["multi_turns"].([]any))
		if err != nil || len(all) != 2*turns {
			t.Errorf("%s: %d samples, error %v", task, len(all), err)
			continue
		}
		s := all[turns]
		if s.ID != "record 2, turn 1" || s.Task != task || !strings.Contains(s.Question, c.record["multi_turns"].([]any)[0].(map[string]any)["input"].(string)) {
			t.Errorf("%s: %+v", task, s)
		}
		if context, ok := c.record["context"]; ok && s.Text != context || !ok && s.Text != c.record["input"] {
			t.Errorf("%s: text %q", task, s.Text)
		}
		if right, wrong := Score(given(t, task), c.right, s.Expected), Score(given(t, task), c.wrong, s.Expected); right != 1 || wrong != 0 {
			t.Errorf("%s: %q scores %g, %q scores %g; expected are %q", task, c.right, right, c.wrong, wrong, s.Expected)
		}
	}
	all, err := read(t, "scbench_choice_eng", "x.json", encode(t, []any{choiceRecord()}))
	if err != nil || !slices.Equal(all[1].Expected, []string{"B", "nobody"}) || !strings.HasPrefix(all[1].Question, "Who keeps the book?\n(A) the miller\n(B) nobody\n") {
		t.Errorf("%+v, error %v", all, err)
	}
}

func TestSCBenchDamage(t *testing.T) {
	const place = "record 1, multi_turns[1]"
	record := func(change func(record, second map[string]any)) string {
		r := choiceRecord()
		change(r, r["multi_turns"].([]any)[1].(map[string]any))
		return encode(t, r)
	}
	set := func(field string, v any) string { return record(func(_, turn map[string]any) { turn[field] = v }) }
	for _, c := range []struct{ task, text, want string }{
		{"choice_eng", record(func(r, _ map[string]any) { delete(r, "context") }), "record 1: context is missing; expected a string"},
		{"choice_eng", record(func(r, _ map[string]any) { r["context"] = []any{1, 2} }), "record 1: context is an array; expected a string"},
		{"choice_eng", record(func(r, _ map[string]any) { delete(r, "context"); r["input"] = 3 }), "record 1: input is a number; expected a string"},
		{"choice_eng", record(func(r, _ map[string]any) { delete(r, "multi_turns") }), "record 1: multi_turns is missing; expected an array of questions"},
		{"choice_eng", record(func(r, _ map[string]any) { r["multi_turns"] = map[string]any{} }), "record 1: multi_turns is an object; expected an array"},
		{"choice_eng", record(func(r, _ map[string]any) { r["multi_turns"] = []any{} }), "record 1: multi_turns is empty; expected one question or more"},
		{"choice_eng", record(func(r, _ map[string]any) { r["multi_turns"] = []any{true} }), "record 1, multi_turns[0] is a boolean; expected an object"},
		{"choice_eng", set("input", ""), place + ": input is empty; expected text"},
		{"choice_eng", set("options", nil), place + ": options is null; expected an array of four strings"},
		{"choice_eng", set("options", []any{"a", "b", "nobody"}), place + ": options has 3 values; expected four"},
		{"choice_eng", set("options", []any{"a", "b", "nobody", 4}), place + ": options[3] is a number; expected an array of four strings"},
		{"choice_eng", set("answer", "everybody"), place + `: answer is "everybody"; expected one of options`},
		{"choice_eng", set("answer", []any{"nobody"}), place + ": answer is an array; expected a string"},
		{"kv", record(func(_, turn map[string]any) { delete(turn, "answer") }), place + ": answer is missing; expected a string, or an array of strings"},
		{"kv", set("answer", json.Number("1e400")), place + ": answer is a number; expected a string, or an array of strings"},
		{"kv", set("answer", "\t"), place + ": answer is empty; expected a string"},
		{"vt", set("answer", []any{}), place + ": answer is empty; expected a string"},
		{"vt", set("answer", []any{"A", ""}), place + ": answer is empty; expected a string"},
		{"vt", set("answer", []any{"A", 2}), place + ": answer[1] is a number; expected a string"},
		{"vt", choiceLines(t)[:300], "record 2: not JSON, near byte"},
		{"vt", "", "the file is empty"},
	} {
		task := scPrefix + c.task
		if _, err := read(t, task, "x.jsonl", c.text); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), task+": ") || !strings.Contains(err.Error(), "x.jsonl: ") {
			t.Errorf("%s: error %v, expected %q", task, err, c.want)
		}
	}
}

func choiceLines(t *testing.T) string {
	r := choiceRecord()
	r["multi_turns"] = r["multi_turns"].([]any)[:1]
	line := encode(t, r) + "\r\n"
	return line + line
}

func TestFindGiven(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"qa", "x", "qa"}, {"longbench-v2", "x", "longbench-v2"}, {"scbench_vt", "x", "scbench_vt"},
		{"scbench", "a/scbench_kv.jsonl", "scbench_kv"}, {"scbench", "SCBench_QA_eng.json", "scbench_qa_eng"}, {"scbench", "multi_turn_vt.jsonl", "scbench_vt"},
		{"scbench", "kv.jsonl", "!kv.jsonl: the name says not which of SCBench's tasks it is; expected scbench_kv.jsonl"},
		{"scbench", "scbench_.jsonl", "!the name says not"}, {"scbench", "scbench_new.jsonl", "!the name says not"},
		{"scbench", "multi_turn_summary.jsonl", "!scbench_summary is not scored here: an answer is a summary, scored by ROUGE; there are scbench_kv, "},
		{"scbench_mf", "x", "!scbench_mf is not scored here: its texts are arrays of numbers"},
		{"mf", "x", `!no task "mf" takes a file; there are qa, longbench-v2, scbench, scbench_kv, `}, {"vt", "x", `!no task "vt" takes a file`},
	} {
		task, err := FindGiven(c.name, c.path)
		if want, isErr := strings.CutPrefix(c.want, "!"); isErr != (err != nil) || isErr && !strings.Contains(fmt.Sprint(err), want) || !isErr && task.Name != want {
			t.Errorf("%s, %s: task %q, error %v; expected %s", c.name, c.path, task.Name, err, c.want)
		}
	}
	for short := range unscored {
		if _, ok := Find(scPrefix + short); ok {
			t.Errorf("%s is scored", short)
		}
	}
}

// TestReadMany writes random records in both forms and reads back what was written.
func TestReadMany(t *testing.T) {
	seed := freshSeed(t)
	r := rand.New(rand.NewPCG(seed, 3))
	n := 1 + r.IntN(200)
	var records []any
	var lines strings.Builder
	for i := range n {
		one := longBenchRecord(fmt.Sprint(i))
		one["context"] = strings.Repeat("x\"\\\n\u2028é", 1+r.IntN(20000)) + "."
		one["answer"] = letters[r.IntN(4)]
		records = append(records, one)
		lines.WriteString(encode(t, one) + "\n")
	}
	for _, text := range []string{encode(t, records), lines.String()} {
		all, err := read(t, "longbench-v2", "data.json", text)
		if err != nil || len(all) != n {
			t.Fatalf("%d samples of %d, error %v", len(all), n, err)
		}
		for i, s := range all {
			one := records[i].(map[string]any)
			if s.ID != one["_id"] || s.Text != one["context"] || s.Expected[0] != one["answer"] {
				t.Errorf("sample %d differs", i)
			}
		}
	}
}
