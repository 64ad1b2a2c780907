package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/model/internal/hostile"
)

// opened opens a checkpoint, and closes it if it could.
func opened(path string) func() error { return hostile.Opened(Open, path) }

func TestOpenWhatIsNoFile(t *testing.T) {
	shard := raw(`{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}`, 2)
	for _, odd := range hostile.Odds {
		for _, name := range []string{singleName, indexName, "a.safetensors"} {
			t.Run(name+" is "+odd.Name, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, name)
				size := odd.Put(t, path)
				if name == "a.safetensors" {
					hostile.Write(t, filepath.Join(dir, indexName), []byte(`{"weight_map":{"v":"b.safetensors","w":"a.safetensors"}}`))
					hostile.Write(t, filepath.Join(dir, "b.safetensors"), shard)
				}
				hostile.Refused(t, size, opened(dir), dir, name)
			})
		}
	}
}

// hostileHeaders are headers that claim what is not so, and what the error says.
func hostileHeaders() map[string][2]string {
	one := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"w":{"dtype":%q,"shape":[%s],"data_offsets":[%s]}}`, dtype, shape, offsets)
	}
	many := strings.Repeat("1,", 1<<19) + "1"
	long := strings.Repeat("w", 1<<20)
	var all strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&all, `"t%d":{"dtype":"F16","shape":[0],"data_offsets":[0,0]},`, i)
	}
	return map[string][2]string{
		"a shape past 2^64":       {one("F32", "4294967296,4294967296,4294967296", "0,4"), `(tensor "w"): shape`},
		"a shape of 2^63":         {one("F32", "9223372036854775808", "0,4"), "found the number 9223372036854775808"},
		"a shape of 1e3":          {one("F32", "1e3", "0,4000"), "found the number 1e3"},
		"a negative dimension":    {one("F32", "-1", "0,4"), "found the number -1 where a whole number"},
		"nothing of much":         {one("F32", "0,9223372036854775807,9223372036854775807", "0,0"), "address space"},
		"a million dimensions":    {one("F32", many, "0,4"), "more than 8 numbers"},
		"a million offsets":       {one("F32", "1", many), "more than 2 numbers"},
		"an offset of 2^63-1":     {one("F32", "1", "9223372036854775803,9223372036854775807"), "no tensor's"},
		"an unknown dtype":        {one("F4", "1", "0,4"), "dtype F4 is not read, only F32"},
		"a dtype of a megabyte":   {one(long, "1", "0,4"), "www… is not read"},
		"a name of a megabyte":    {`{"` + long + `":{}}`, `www…"): no dtype`},
		"a name twice":            {`{"` + long + `":{"dtype":"F16","shape":[0],"data_offsets":[0,0]},"` + long + `":{}}`, "occurs twice"},
		"overlapping":             {`{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}`, `(tensor "b"): data_offsets [4 8] overlap the tensor "a"`},
		"the same bytes":          {`{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}`, "overlap"},
		"5000 empty tensors":      {"{" + all.String() + `"x":{"dtype":"F16","shape":[1],"data_offsets":[9,9]}}`, `(tensor "x")`},
		"nested 100,000 deep":     {`{"w":{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`, "exceeded max depth"},
		"nested where none is":    {`{"w":` + strings.Repeat(`{"x":`, 100_000), `the JSON`},
		"metadata nested":         {`{"__metadata__":{"a":` + strings.Repeat("[", 100_000), "(__metadata__): found"},
		"a byte order mark":       {"\xef\xbb\xbf{}", "byte order mark"},
		"UTF-16":                  {"\xff\xfe{\x00}\x00", "not valid UTF-8"},
		"a list":                  {"[" + many + "]", `found "[" where "{" belongs`},
		"fp8 without scales":      {one("F8_E4M3", "2,4", "0,8"), `fp8 without scales`},
		"a million of a list":     {`{"w":[` + many + `]}`, `found "["`},
		"an unknown key, forever": {`{"w":{"` + long + `":[` + many, "the JSON ends too soon"},
	}
}

func TestHostileHeaders(t *testing.T) {
	for name, header := range hostileHeaders() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hostile.safetensors")
			size := hostile.Write(t, path, raw(header[0], 8))
			hostile.Refused(t, size, opened(path), path+": at byte ", header[1])
		})
	}
}

// TestHolesAreNotRead has files of a terabyte that take no room.
func TestHolesAreNotRead(t *testing.T) {
	for name, head := range map[string][]byte{
		"a header of 2^63":  binary.LittleEndian.AppendUint64(nil, 1<<63),
		"a header of 2^39":  binary.LittleEndian.AppendUint64(nil, 1<<39),
		"a header of holes": append(binary.LittleEndian.AppendUint64(nil, 1<<20), '{'),
		"no tensors":        raw("{}", 0),
		"a small tensor":    raw(`{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 0),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "holes.safetensors")
			size := hostile.Holes(t, path, head)
			hostile.Refused(t, size, opened(path), path+": at byte ")
		})
	}
	// A tensor of all of it is none that cannot be: it is opened, and nothing is read.
	path := filepath.Join(t.TempDir(), "large.safetensors")
	header := `{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`
	data := 1<<40 - lengthBytes - 128
	size := hostile.Holes(t, path, raw(fmt.Sprintf("%-128s", fmt.Sprintf(header, data/4, data)), 0))
	if err := hostile.Bounded(t, size, opened(path)); err != nil {
		t.Error(err)
	}
}

// hostileIndexes are the index of a checkpoint of a.safetensors, which holds w,
// and what the error says.
func hostileIndexes() map[string][2]string {
	of := func(shard string) string { return fmt.Sprintf(`{"weight_map":{"w":%q}}`, shard) }
	long := strings.Repeat("../", 1<<18)
	return map[string][2]string{
		"itself":             {of(indexName), `tensor "w" is given to the shard "` + indexName},
		"a parent":           {of("../a.safetensors"), "beside the index"},
		"the root":           {of("/a.safetensors"), "beside the index"},
		"a drive":            {of("C:a.safetensors"), "beside the index"},
		"another's folder":   {of(`..\a.safetensors`), "beside the index"},
		"a folder":           {of("x/a.safetensors"), "beside the index"},
		"a zero byte":        {`{"weight_map":{"w":"a\u0000.safetensors"}}`, "beside the index"},
		"a device":           {of("NUL.safetensors/.safetensors"), "beside the index"},
		"far up":             {of(long + "a.safetensors"), `../…"`},
		"not there":          {of("b.safetensors"), "the shard b.safetensors that the index names"},
		"another tensor":     {`{"weight_map":{"v":"a.safetensors"}}`, `(tensor "v"): the index says that a.safetensors holds it`},
		"a tensor twice":     {`{"weight_map":{"w":"a.safetensors","w":"a.safetensors"}}`, `the key "w" occurs twice`},
		"a map twice":        {`{"weight_map":{"w":"a.safetensors"},"weight_map":{}}`, `the key "weight_map" occurs twice`},
		"nested deep":        {`{"metadata":` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000) + `}`, "exceeded max depth"},
		"a map of maps":      {`{"weight_map":` + strings.Repeat(`{"w":`, 50_000), "found"},
		"a list":             {"[]", `found "[" where "{" belongs`},
		"a byte order mark":  {"\xef\xbb\xbf" + of("a.safetensors"), "byte order mark"},
		"other text":         {"\xff" + of("a.safetensors"), "UTF-8"},
		"two documents":      {of("a.safetensors") + of("a.safetensors"), "after the end"},
		"a name of megabyte": {`{"weight_map":{"` + long + `":"b"}}`, `../…" is given to the shard "b"`},
	}
}

func TestHostileIndexes(t *testing.T) {
	shard := raw(`{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}`, 2)
	for name, index := range hostileIndexes() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			hostile.Write(t, filepath.Join(dir, "a.safetensors"), shard)
			path := filepath.Join(dir, indexName)
			size := hostile.Write(t, path, []byte(index[0]))
			hostile.Refused(t, size, opened(dir), path+": ", index[1])
		})
	}
	dir := t.TempDir()
	hostile.Write(t, filepath.Join(dir, "a.safetensors"), shard)
	hostile.Write(t, filepath.Join(dir, indexName), []byte("{\r\n \"weight_map\": {\r\n  \"w\": \"a.safetensors\"\r\n }\r\n}\r\n"))
	if err := opened(dir)(); err != nil {
		t.Errorf("an index with the line ends of Windows: %v", err)
	}
}

// TestShardsInALoop has shards that are links to each other.
func TestShardsInALoop(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"a.safetensors": "b.safetensors", "b.safetensors": "a.safetensors"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Skipf("needs a file system with links: %v", err)
		}
	}
	hostile.Write(t, filepath.Join(dir, indexName), []byte(`{"weight_map":{"w":"a.safetensors"}}`))
	hostile.Refused(t, 0, opened(dir), dir, "the shard a.safetensors that the index names")
}

// FuzzIndex checks that no index leads out of its folder, breaks a promise or
// panics.
func FuzzIndex(f *testing.F) {
	indexes := hostileIndexes()
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		index := indexes[name]
		f.Add([]byte(index[0][:min(len(index[0]), 1<<12)]))
	}
	f.Add([]byte(`{"metadata":{"total_size":2},"weight_map":{"w":"a.safetensors","é<0>":"model-00001-of-00002.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var shardOf map[string]string
		err := hostile.Bounded(t, int64(len(data)), func() (err error) {
			shardOf, err = parseIndex("fuzz", data)
			return err
		})
		if err != nil {
			var at *FileError
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > len(data) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if len(shardOf) == 0 {
			t.Fatal("an index of nothing")
		}
		for name, shard := range shardOf {
			if path := filepath.Join("dir", shard); filepath.Dir(path) != "dir" || filepath.Ext(path) != extension {
				t.Fatalf("tensor %q leads to %s", name, path)
			}
		}
	})
}
