// Command gen writes the amd64 assembly of package simd, and the Go stubs of
// its functions. The same generators write both instruction sets: they ask isa
// for registers and leave to it what only one of the two can do.
//
// Register rules: vector registers are named by number, so that a generator
// sees how many it has (32 or 16); general registers are avo's to allocate.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	name := flag.String("isa", "avx512", "avx512 or avx2")
	flag.Parse()
	if err := run(*name); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(name string) error {
	files, err := generate(name)
	if err != nil {
		return err
	}
	for file, text := range files {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the text of an instruction set's files.
func generate(name string) (map[string][]byte, error) {
	g := &isa{Context: build.NewContext(), name: name, tables: map[string]operand.Mem{}}
	switch name {
	case "avx512":
		g.w = 16
	case "avx2":
		g.w = 8
	default:
		return nil, fmt.Errorf("instruction set %q: must be avx512 or avx2", name)
	}
	g.tiles()
	g.pairs()
	g.transpose()
	g.decoders()
	g.codes()
	g.superBlocks()
	g.laneProducts()
	g.limbProducts()
	g.exponentials()
	g.rows()
	g.dots()
	g.peak()

	f, err := g.Result()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := pass.Compile.Execute(f); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	cfg := printer.Config{Name: "kernels/cpu/simd/gen", Pkg: "simd"}
	files := map[string][]byte{}
	for file, p := range map[string]printer.Printer{
		"kernels_" + name + "_amd64.s": printer.NewGoAsm(cfg),
		"stubs_" + name + "_amd64.go":  printer.NewStubs(cfg),
	} {
		if files[file], err = p.Print(f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return files, nil
}

// isa is an instruction set: w float32 lanes a vector.
type isa struct {
	*build.Context
	name   string
	w      int
	tables map[string]operand.Mem // those of once
}

func (g *isa) wide() bool { return g.w == 16 }

// bytes is the size of one vector.
func (g *isa) bytes() int { return 4 * g.w }

var (
	zmm = []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
	ymm = []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}
)

// v is vector register i.
func (g *isa) v(i int) reg.VecPhysical {
	if g.wide() {
		return zmm[i]
	}
	return ymm[i]
}

// vs is n vector registers from i.
func (g *isa) vs(i, n int) []reg.VecPhysical {
	out := make([]reg.VecPhysical, n)
	for j := range out {
		out[j] = g.v(i + j)
	}
	return out
}

// begin starts function name+ISA with the given parameters.
func (g *isa) begin(name, params, doc string) string {
	full := name + map[bool]string{true: "AVX512", false: "AVX2"}[g.wide()]
	g.Function(full)
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr("func(" + params + ")")
	g.Doc(strings.Split(full+" "+doc, "\n")...)
	g.Pragma("noescape")
	return full
}

func (g *isa) end() {
	g.VZEROUPPER()
	g.RET()
}

// arg loads a parameter into a general register.
func (g *isa) arg(name string) reg.GPVirtual {
	return g.Load(g.Param(name), g.GP64()).(reg.GPVirtual)
}

// broadcast loads a float32 parameter into every lane of v. It must come before
// other vector instructions: avo's load is one of SSE's.
func (g *isa) broadcast(name string, v reg.VecPhysical) {
	g.Load(g.Param(name), v.AsX())
	g.VBROADCASTSS(v.AsX(), v)
}

func (g *isa) zero(v reg.Register) {
	if g.wide() {
		g.VPXORD(v, v, v)
	} else {
		g.VXORPS(v, v, v)
	}
}

func mem(base reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Disp: disp}
}

// table is a read-only table of 32-bit words.
func (g *isa) table(name string, words []uint32) operand.Mem {
	t := g.StaticGlobal(name + "_" + g.name)
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, w := range words {
		g.AddDatum(4*i, operand.U32(w))
	}
	return t
}

// all is one word in every lane.
func (g *isa) all(name string, word uint32) operand.Mem {
	words := make([]uint32, g.w)
	for i := range words {
		words[i] = word
	}
	return g.table(name, words)
}

// rowsAt prepares addresses of n rows, stride apart, from one moving base:
// x86 multiplies an index by 1, 2, 4 or 8, so that odd multiples need a
// register each.
func (g *isa) rowsAt(base, stride reg.GPVirtual, n int) func(row, disp int) operand.Mem {
	odd := map[int]reg.GPVirtual{1: stride}
	for m := 3; m < n; m += 2 {
		r := g.GP64()
		g.LEAQ(operand.Mem{Base: odd[m-2], Index: stride, Scale: 2}, r)
		odd[m] = r
	}
	return func(row, disp int) operand.Mem {
		if row == 0 {
			return mem(base, disp)
		}
		scale := uint8(1)
		for row%2 == 0 {
			row, scale = row/2, scale*2
		}
		return operand.Mem{Base: base, Index: odd[row], Scale: scale, Disp: disp}
	}
}
