package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/model/safetensors"
	"headinfer/model/tensor"
)

func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// folder copies tiny-llama's and gives it other weights.
func folder(t *testing.T, weights []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../testdata/tiny-llama")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fp8Twins makes two models of the same random weights: with every matrix in fp8,
// and as what that is decoded to.
func fp8Twins(t *testing.T) (encoded, decoded string) {
	t.Helper()
	r := newRand(t)
	good, err := safetensors.Open("../testdata/tiny-llama")
	if err != nil {
		t.Fatal(err)
	}
	type item struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header, body := map[string]item{}, []byte{}
	add := func(name, dtype string, shape []int, data []byte) {
		header[name] = item{dtype, shape, [2]int{len(body), len(body) + len(data)}}
		body = append(body, data...)
	}
	for _, w := range good.Tensors() {
		if len(w.Shape) != 2 {
			add(w.Name, "F32", w.Shape, w.Data)
			continue
		}
		rows, cols := w.Shape[0], w.Shape[1]
		data := make([]byte, rows*cols)
		for i := range data {
			data[i] = byte(r.UintN(0x7f) + 128*r.UintN(2)) // no NaN
		}
		scales := make([]byte, 0, 4*rows)
		for range rows {
			scales = binary.LittleEndian.AppendUint32(scales, 0x3a000000|r.Uint32N(1<<23))
		}
		add(w.Name, "F8_E4M3", w.Shape, data)
		add(w.Name+"_scale", "F32", []int{rows, 1}, scales)
	}
	if err := good.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), body...)
	set, err := safetensors.Parse("fp8", file)
	if err != nil {
		t.Fatal(err)
	}
	var plain []tensor.Tensor
	for _, w := range set.Tensors() {
		if w.Decode != nil {
			data := make([]byte, 2*len(w.Data))
			w.Decode(data, 0, w.Shape[0])
			w.Data, w.Decode = data, nil
		}
		plain = append(plain, w)
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, plain); err != nil {
		t.Fatal(err)
	}
	return folder(t, file), folder(t, b.Bytes())
}

func TestLoadFP8(t *testing.T) {
	encoded, decoded := fp8Twins(t)
	got, want := loaded(t, encoded), loaded(t, decoded)
	for name, w := range want {
		if !bytes.Equal(got[name], w) {
			t.Errorf("%s differs from what its fp8 stands for", name)
		}
	}
	c, err := Open(encoded)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	e := c.Encodings()
	if len(e) != 2 || e[0].Name != "fp8" || e[0].Bytes != e[0].Parameters || e[1].Name != "f32" ||
		e[0].Parameters+e[1].Parameters != c.Config.Parameters() {
		t.Errorf("encodings %+v of %d parameters", e, c.Config.Parameters())
	}
}

// TestLoadDecodesInParts has a matrix that does not fit in the buffers that parts
// are decoded in, and one whose every row does not.
func TestLoadDecodesInParts(t *testing.T) {
	r := newRand(t)
	for _, shape := range [][2]int{{1300 + r.IntN(100), 7001}, {2, stageBytes/2 + 3}} {
		rows, cols := shape[0], shape[1]
		line := make([]byte, 2*cols+rows) // a row is what begins at its number
		for i := range line {
			line[i] = byte(r.Uint32())
		}
		w := tensor.Tensor{Name: "w", DType: kernels.BF16, Shape: shape[:], Data: make([]byte, 1)}
		w.Decode = func(dst []byte, from, to int) {
			if len(dst) != (to-from)*2*cols {
				t.Errorf("%d bytes for rows %d to %d of %d", len(dst), from, to, cols)
			}
			for row := from; row < to; row++ {
				copy(dst[(row-from)*2*cols:], line[row:row+2*cols])
			}
		}
		f := &stored{path: "x", lookup: func(string) (tensor.Tensor, bool) { return w, true }}
		spec := tensorSpec{name: "w", rows: rows, cols: cols}
		dev := cpu.Open(1<<30, 2)
		s := dev.NewStream("test")
		load := f.load(dev, s, []tensorSpec{spec})
		on, err := load.put(spec)
		if err != nil {
			t.Fatal(err)
		}
		load.end()
		if on.Bytes() != f.bytes(spec) {
			t.Errorf("%d bytes, %d expected", on.Bytes(), f.bytes(spec))
		}
		got := unsafe.Slice((*byte)(on.Data), on.Bytes())
		for row := range rows {
			if !bytes.Equal(got[row*2*cols:][:2*cols], line[row:row+2*cols]) {
				t.Fatalf("row %d of %v is wrong", row, shape)
			}
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
}

// hosted is a device with host memory of another kind.
type hosted struct {
	kernels.Device
	host *memory.CheckedAllocator
}

func (h hosted) Host() memory.Allocator { return h.host }

// TestLoadDecodesInHostMemory checks that parts are decoded in the host memory that
// the device copies from, and that nothing of it is left.
func TestLoadDecodesInHostMemory(t *testing.T) {
	encoded, _ := fp8Twins(t)
	c, err := Open(encoded)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	dev := hosted{cpu.Open(64<<20, 2), memory.NewCheckedAllocator(memory.NewGoAllocator())}
	s := dev.NewStream("test")
	specs := c.Config.tensors()
	load := c.source.load(dev, s, specs)
	decoded := 0
	for _, spec := range specs {
		if _, err := load.put(spec); err != nil {
			t.Fatal(err)
		}
		if kind, _ := c.source.held(spec); kind == "fp8" {
			decoded++
		}
		if got := dev.host.CurrentAlloc(); got != min(decoded, 2)*stageBytes {
			t.Errorf("%d bytes of host memory are taken after %d matrices, want two stages at most", got, decoded)
		}
	}
	load.end()
	dev.host.AssertSize(t, 0)
	if decoded < 3 {
		t.Errorf("only %d matrices were decoded", decoded)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

// TestLoadingIsTold follows a load, and refuses one that does not fit before it
// reads.
func TestLoadingIsTold(t *testing.T) {
	c, err := Open("../testdata/tiny-llama")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	var told []int64
	c.Loading = func(done, total int64) {
		if total != c.WeightBytes() {
			t.Errorf("%d bytes in all, want %d", total, c.WeightBytes())
		}
		told = append(told, done)
	}
	dev := cpu.Open(c.WeightBytes(), 2)
	if _, err := loadWeights(c, dev, dev.NewStream("test")); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
	if n := len(c.Config.tensors()); len(told) != n || told[n-1] != c.WeightBytes() {
		t.Errorf("told of %v", told)
	}
	for i := 1; i < len(told); i++ {
		if told[i] <= told[i-1] {
			t.Errorf("told of %d bytes after %d", told[i], told[i-1])
		}
	}
	told = nil
	small := cpu.Open(c.WeightBytes()-1, 2)
	defer func() {
		if err := small.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := loadWeights(c, small, small.NewStream("test")); !errors.Is(err, kernels.ErrBudget) || told != nil {
		t.Errorf("a device that is too small: %v, after %v", err, told)
	}
}
