package simd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"headinfer/kernels"
)

// tileFunc computes a tile of C from A·B; see the tile constants. Element
// (r, i) of A is at a + r·ars + i·aks; strides are bytes.
type tileFunc func(c *float32, ldc uintptr, a *float32, ars, aks uintptr, b *float32, ldb uintptr, k, mode int, alpha *float32)

// What a tile does with the C it finds.
const (
	tileSet   = iota // C = A·B
	tileAdd          // C += A·B
	tileLanes        // C = C·alpha[lane] + A·B
)

type (
	valuesFunc  func(c *float32, ldc uintptr, a *float32, ars uintptr, b *float32, ldb uintptr, k int, alpha, next *float32)
	decodeFunc  func(dst *float32, src *byte, blocks int)
	productFunc func(y, x *float32, w *byte, stride uintptr, blocks, groups int)
	softmaxFunc func(s *float32, keys int, m, l, alpha *float32)
	dotsFunc    func(s *float32, lds uintptr, q, k, v *float32, dims, groups int)
	keysFunc    func(dst *float32, ldd uintptr, src *byte, block uintptr, strips, groups int)
	massFunc    func(mass, s *float32, lds uintptr, lse *float32, rows int)
)

const encodings = int(kernels.Int4G64) + 1

// kernelSet is one level: the functions that know its instructions. Those that
// take vectors count them in units of lanes.
type kernelSet struct {
	name  string
	lanes int
	rows  int // of the largest tile, a power of two
	// someRows is up to how many rows of X rowsTogether beats a panel.
	someRows int

	tile1, tile3 [4]tileFunc // 1, 2, 4 and 8 rows by one and three vectors
	// pairs1 and pairs3 are such tiles of pairs of bf16, and roundPairs makes these; nil
	// where the processor has no products of them.
	pairs1, pairs3 [4]tileFunc
	roundPairs     func(dst, src *float32, blocks int)
	transpose8     func(dst *float32, ldd uintptr, src *float32, lds uintptr, blocks int)

	decode       [encodings]decodeFunc
	product1     [encodings]productFunc  // one row; weights only
	product4     [encodings]productFunc  // four rows; nil where one at a time is as good
	lays         bool                    // whether products of super-blocks take an x that Lay has laid out
	limbs        [encodings]*limbProduct // products with x in limbs, which come before the others
	limbBlock    func(dst *byte, half uintptr, x, scale *float32)
	keys8, keys4 keysFunc // by the bits of a code

	softmax1, softmax3 softmaxFunc // over one and three vectors of queries
	mass1, mass3       massFunc    // over one and three vectors of keys
	dots               [3]dotsFunc // 1, 2 and 4 queries by lanes/queries keys

	values1, values3, values4 [3]valuesFunc // 1, 2 and 4 queries by vectors; the last where registers allow
	values8                   [3]valuesFunc // by eight lanes, where a vector is longer

	expRow      func(y, x *float32, vectors int, sub float32) float32
	swiglu      func(y, gate, up *float32, vectors int)
	geglu       func(y, gate, up *float32, vectors int)
	capRow      func(x *float32, vectors int, by, limit float32)
	sumSquares  func(x *float32, vectors int) float32
	maxRow      func(x *float32, vectors int) float32
	addRow      func(y, x *float32, vectors int)
	scaleRow    func(y, x, w *float32, vectors int, a float32)
	addScaleRow func(y, x, w *float32, vectors int, a float32)
	blendRow    func(y, x *float32, vectors int, a, b float32)
	timesRow    func(y, x *float32, vectors int, a float32)
	rotateRow   func(x0, x1, cos, sin *float32, vectors int)
	peakFMA     func(rounds int)
	readAll     func(p *byte, chunks int)
}

// panelRows is how many rows of W a GEMM takes at a time.
func (s *kernelSet) panelRows() int { return 3 * s.lanes }

var (
	available = append(machineLevels(), portable())
	current   atomic.Pointer[kernelSet]
)

func init() {
	current.Store(available[0])
	if name := os.Getenv("HEADINFER_SIMD"); name != "" {
		if err := Use(name); err != nil {
			fmt.Fprintf(os.Stderr, "HEADINFER_SIMD: %v; using %s\n", err, Level())
		}
	}
}

// Level names the instructions in use: "avx512vnni", "avx512", "avx2" or "go".
func Level() string { return current.Load().name }

// Levels lists what Use takes here, the fastest first.
func Levels() []string {
	var names []string
	for _, s := range available {
		names = append(names, s.name)
	}
	return names
}

// Use selects a level for calls that start from now on. It fails if this CPU,
// or this build, lacks it.
func Use(name string) error {
	i := slices.IndexFunc(available, func(s *kernelSet) bool { return s.name == name })
	if i < 0 {
		return fmt.Errorf("simd level %q is not available here: choose %s", name, strings.Join(Levels(), ", "))
	}
	current.Store(available[i])
	return nil
}

// PanelRows returns how many rows of W a GEMM takes at a time. Workers that
// share a W waste nothing when they split it at multiples of this.
func PanelRows() int { return current.Load().panelRows() }
