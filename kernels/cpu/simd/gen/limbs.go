package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products of blocks of 32 with a vector in limbs (see limbs.go of the package), for
// processors with AVX-512's dot products of bytes: 64 codes, which are bytes without
// a sign, meet 64 signed limbs in one instruction, whose sums of four are exact. A
// chunk is four blocks, so that a lane of 128 bits has the 16 bytes of one of them.
//
// The three limbs' sums come together in one integer where it has room for them: its
// most is 8 products of a lane, a code of up to 31 and 2^23. Wider codes have the
// lowest limb's sum apart.
type limbBlock struct {
	name   string
	bytes  int // of a block
	codes  int // where its codes begin
	least  int // where the f16 is that the sum of x is multiplied with: a minimum, or the scale again
	fifth  int // where the fifth bits are; 0: nowhere
	values []int8
	whole  bool // a code is a byte
	rows   int  // at a time, as many as there are registers for
}

// Where things are in a chunk of the vector, in bytes.
const (
	limbBytes  = 128 // of one limb
	limbScales = 3 * limbBytes
	limbChunk  = limbScales + 64
	limbBlocks = 4
)

// limbAhead is how many bytes before their use weights are asked for, past the end of
// the row: so far that memory has answered by then, and into the second cache only,
// for the first has room for too few questions that are still open.
const limbAhead = 8192

func (g *isa) limbProducts() {
	if !g.wide() {
		return
	}
	for _, b := range []limbBlock{
		{name: "Q40", bytes: 18, codes: 2, rows: 4},
		{name: "Q41", bytes: 20, codes: 4, least: 2, rows: 4},
		{name: "Q50", bytes: 22, codes: 6, fifth: 2, rows: 2},
		{name: "Q51", bytes: 24, codes: 8, least: 2, fifth: 4, rows: 2},
		{name: "Q80", bytes: 34, codes: 2, whole: true, rows: 2},
		{name: "IQ4NL", bytes: 18, codes: 2, values: nonLinear[:], rows: 2},
	} {
		g.limbProduct(b, 1)
		g.limbProduct(b, b.rows)
	}
	g.limbBlock()
}

// limbs is what the body of a product works with.
type limbs struct {
	*isa
	block             limbBlock
	x                 reg.Register
	row               func(r, disp int) operand.Mem
	rows              int
	sums, low, leasts []reg.VecPhysical // of each row; low: those of the lowest limbs
	next              int               // register that is free
	pick              map[string]reg.VecPhysical
}

func (l *limbs) take() reg.VecPhysical {
	l.next++
	return l.v(l.next - 1)
}

// keep loads a constant.
func (l *limbs) keep(name string, words []uint32) {
	r := l.take()
	l.VMOVDQU64(l.once(name, words), r)
	l.pick[name] = r
}

// twoSums reports whether a lane's sums with all limbs don't fit one integer.
func (b limbBlock) twoSums() bool { return b.whole || b.values != nil }

// loads is how many vectors a chunk's bytes are loaded as.
func (b limbBlock) loads() int { return (limbBlocks*b.bytes + 63) / 64 }

// loadedFrom is where vector i of them begins: the last ends with the chunk.
func (b limbBlock) loadedFrom(i int) int { return min(64*i, limbBlocks*b.bytes-64) }

func (g *isa) limbProduct(b limbBlock, rows int) {
	g.begin(fmt.Sprintf("limbs%s_%d", b.name, rows),
		"y, x *float32, w *byte, stride uintptr, chunks, groups int, rest *uint32",
		fmt.Sprintf("computes y[i] = row i of w · x for groups of %d rows, stride bytes\n"+
			"apart, of 128·chunks columns; x is in limbs. If rest is not nil, a part of a chunk\n"+
			"follows, and rest has masks of the words of each vector that there are.", rows))
	y, x0, w0, stride := g.arg("y"), g.arg("x"), g.arg("w"), g.arg("stride")
	chunks, groups, rest := g.arg("chunks"), g.arg("groups"), g.arg("rest")
	x, w, n := g.GP64(), g.GP64(), g.GP64()
	row := g.rowsAt(w, stride, rows)
	l := &limbs{isa: g, block: b, x: x, row: row, rows: rows, pick: map[string]reg.VecPhysical{}}
	for range rows {
		l.sums, l.leasts = append(l.sums, l.take()), append(l.leasts, l.take())
		if b.twoSums() {
			l.low = append(l.low, l.take())
		}
	}
	l.constants()
	g.TESTQ(rest, rest)
	g.JZ(operand.LabelRef("group"))
	for i := range b.loads() {
		g.KMOVD(mem(rest, 4*i), limbMasks[i])
	}
	g.Label("group")
	g.MOVQ(x0, x)
	g.MOVQ(w0, w)
	g.MOVQ(chunks, n)
	for _, part := range [][]reg.VecPhysical{l.sums, l.low, l.leasts} {
		for _, r := range part {
			g.zero(r)
		}
	}
	g.TESTQ(n, n)
	g.JZ(operand.LabelRef("rest"))
	g.Label("chunk")
	l.chunk(false)
	g.ADDQ(operand.U32(limbChunk), x)
	g.ADDQ(operand.U32(uint32(limbBlocks*b.bytes)), w)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("chunk"))
	g.Label("rest")
	g.TESTQ(rest, rest)
	g.JZ(operand.LabelRef("sum"))
	l.chunk(true)
	g.Label("sum")
	for r := range rows {
		if b.twoSums() {
			l.VFMADD132PS(g.everywhere(math.Float32bits(256)), l.low[r], l.sums[r])
		}
		// The odd lanes are those of minima.
		g.VPSRLQ(operand.Imm(32), l.leasts[r].AsY(), l.leasts[r].AsY())
		g.VADDPS(l.leasts[r], l.sums[r], l.sums[r])
		g.sumLanes(l.sums[r], l.leasts[r])
		g.VMOVSS(l.sums[r].AsX(), mem(y, 4*r))
	}
	g.ADDQ(operand.Imm(uint64(4*rows)), y)
	for range rows {
		g.ADDQ(stride, w0)
	}
	g.DECQ(groups)
	g.JNZ(operand.LabelRef("group"))
	g.end()
}

var limbMasks = []reg.Register{reg.K1, reg.K2, reg.K3}

// constants keeps what the body looks up and masks with. Bytes of a chunk are picked
// by words, of which the vectors that it is loaded as have 32 each.
func (l *limbs) constants() {
	word := func(first, at int) uint32 { // of the byte at, in vectors from first on
		for i := first; ; i++ {
			if from := l.block.loadedFrom(i); at < from+64 {
				return uint32(32*(i-first) + (at-from)/2)
			}
		}
	}
	pairs := func(name string, at func(pair int) (first, byte int)) {
		words := make([]uint32, 16)
		for i := range words {
			first, from := at(i)
			words[i] = word(first, from) | word(first, from+2)<<16
		}
		l.keep(name+l.block.name, words)
	}
	block := func(i, byte int) int { return l.block.bytes*i + byte }
	header := make([]uint32, 16)
	for i := range limbBlocks {
		header[i] = word(0, block(i, 0)) | word(0, block(i, l.block.least))<<16
	}
	l.keep("header"+l.block.name, header)
	if l.block.whole {
		pairs("first", func(i int) (int, int) { return 0, block(i/8, l.block.codes+4*(i%8)) })
		pairs("second", func(i int) (int, int) { return 1, block(2+i/8, l.block.codes+4*(i%8)) })
		l.keep("signs", l.bytesEverywhere(0x80))
		l.keep("scales0of8", lanesOf(func(i int) int { return i / 8 * 2 }))
		l.keep("scales1of8", lanesOf(func(i int) int { return 4 + i/8*2 }))
		return
	}
	pairs("codes", func(i int) (int, int) { return 0, block(i/4, l.block.codes+4*(i%4)) })
	l.keep("nibbles", l.bytesEverywhere(0x0f))
	l.keep("scalesOf4", lanesOf(func(i int) int { return i / 4 * 2 }))
	if l.block.fifth > 0 {
		pairs("fifth", func(i int) (int, int) { return 0, block(i/4, l.block.fifth) })
		l.keep("fifthsLow", []uint32{0, 0, 0x01010101, 0x01010101, 0, 0, 0x01010101, 0x01010101, 0, 0, 0x01010101, 0x01010101, 0, 0, 0x01010101, 0x01010101})
		l.keep("fifthsHigh", []uint32{0x02020202, 0x02020202, 0x03030303, 0x03030303, 0x02020202, 0x02020202, 0x03030303, 0x03030303, 0x02020202, 0x02020202, 0x03030303, 0x03030303, 0x02020202, 0x02020202, 0x03030303, 0x03030303})
		l.keep("eighths", lanesOf(func(i int) int { return []int{0x08040201, 0x80402010}[i%2] }))
		l.keep("sixteens", l.bytesEverywhere(16))
	}
	if l.block.values != nil {
		l.keep("nonLinearBytes", lanesOf(func(i int) int {
			word := 0
			for b := range 4 {
				word |= (int(l.block.values[4*(i%4)+b]) + 128) << (8 * b)
			}
			return word
		}))
	}
}

// lanesOf is a word for each lane.
func lanesOf(of func(i int) int) []uint32 {
	words := make([]uint32, 16)
	for i := range words {
		words[i] = uint32(of(i))
	}
	return words
}

func (l *limbs) bytesEverywhere(b int) []uint32 {
	return lanesOf(func(int) int { return b * 0x01010101 })
}

func (l *limbs) constant(name string) reg.VecPhysical {
	if r, ok := l.pick[name]; ok {
		return r
	}
	return l.pick[name+l.block.name]
}

// chunk multiplies four blocks of each row, or what there is of them.
func (l *limbs) chunk(part bool) {
	first := l.next
	defer func() { l.next = first }()
	codes, scales := make([][2]reg.VecPhysical, l.rows), make([][2]reg.VecPhysical, l.rows)
	for r := range l.rows {
		codes[r] = [2]reg.VecPhysical{l.take(), l.take()}
		scales[r] = [2]reg.VecPhysical{l.take(), nil}
		if l.block.whole {
			scales[r][1] = l.take()
		}
		l.decode(r, part, codes[r], scales[r])
	}
	var acc [2][]reg.VecPhysical
	for range l.rows {
		acc[0] = append(acc[0], l.take())
		if l.block.twoSums() {
			acc[1] = append(acc[1], l.take())
		}
	}
	shared := l.take()
	times := func(limb, half int, sums []reg.VecPhysical) {
		x := operand.Op(mem(l.x, limbBytes*limb+64*half))
		if l.rows > 1 {
			l.VMOVDQU64(x, shared)
			x = shared
		}
		for r := range l.rows {
			l.VPDPBUSD(x, codes[r][half], sums[r])
		}
	}
	// The halves are of the same blocks, and their sums are one, unless a code is a byte.
	finish := func(half int, sums, to []reg.VecPhysical) {
		for r := range l.rows {
			l.VCVTDQ2PS(sums[r], sums[r])
			scale := scales[r][0]
			if l.block.whole {
				scale = scales[r][half]
			}
			l.VFMADD231PS(scale, sums[r], to[r])
		}
	}
	shift := func(sums []reg.VecPhysical) {
		for _, s := range sums {
			l.VPSLLD(operand.Imm(8), s, s)
		}
	}
	groups := [][]int{{0, 1}}
	if l.block.whole {
		groups = [][]int{{0}, {1}}
	}
	for _, halves := range groups {
		both := func(limb int, sums []reg.VecPhysical) {
			for _, h := range halves {
				times(limb, h, sums)
			}
		}
		for _, s := range acc {
			for _, v := range s {
				l.zero(v)
			}
		}
		both(2, acc[0])
		shift(acc[0])
		both(1, acc[0])
		if l.block.twoSums() {
			both(0, acc[1])
			finish(halves[0], acc[1], l.low)
		} else {
			shift(acc[0])
			both(0, acc[0])
		}
		finish(halves[0], acc[0], l.sums)
	}
}

// decode makes unsigned bytes of the codes of row r, and spreads the blocks' scales,
// times those of x, over the lanes of their sums.
func (l *limbs) decode(r int, part bool, codes, scales [2]reg.VecPhysical) {
	first := l.next
	defer func() { l.next = first }()
	for line := 0; !part && line < limbBlocks*l.block.bytes; line += 64 {
		l.PREFETCHT1(l.row(r, limbAhead+line))
	}
	var from [3]reg.VecPhysical
	for i := range l.block.loads() {
		from[i] = l.take()
		m := l.row(r, l.block.loadedFrom(i))
		if part {
			l.VMOVDQU16_Z(m, limbMasks[i], from[i])
		} else {
			l.VMOVDQU64(m, from[i])
		}
	}
	h := l.take()
	// Two numbers of each block: its scale, and what comes to the sum of x.
	l.VMOVDQA64(l.constant("header"), h)
	l.VPERMI2W(from[1], from[0], h)
	l.VCVTPH2PS(h.AsX(), h.AsY())
	l.VMULPS(mem(l.x, limbScales), h.AsY(), h.AsY())
	l.VADDPS(h.AsY(), l.leasts[r].AsY(), l.leasts[r].AsY())
	if l.block.whole {
		l.VPERMPS(h, l.constant("scales0of8"), scales[0])
		l.VPERMPS(h, l.constant("scales1of8"), scales[1])
		l.VPERMT2W(from[1], l.constant("first"), from[0])
		l.VPXORD(l.constant("signs"), from[0], codes[0])
		l.VPERMT2W(from[2], l.constant("second"), from[1])
		l.VPXORD(l.constant("signs"), from[1], codes[1])
		return
	}
	l.VPERMPS(h, l.constant("scalesOf4"), scales[0])
	if l.block.fifth > 0 {
		l.VMOVDQA64(l.constant("fifth"), h)
		l.VPERMI2W(from[1], from[0], h)
	}
	l.VPERMT2W(from[1], l.constant("codes"), from[0])
	l.VPANDD(l.constant("nibbles"), from[0], codes[0])
	l.VPSRLW(operand.Imm(4), from[0], codes[1])
	l.VPANDD(l.constant("nibbles"), codes[1], codes[1])
	for i, name := range []string{"fifthsLow", "fifthsHigh"} {
		if l.block.fifth > 0 {
			l.VPSHUFB(l.constant(name), h, from[0])
			l.VPTESTMB(l.constant("eighths"), from[0], reg.K4)
			l.VPADDB(l.constant("sixteens"), codes[i], reg.K4, codes[i])
		}
		if l.block.values != nil {
			l.VPSHUFB(codes[i], l.constant("nonLinearBytes"), codes[i])
		}
	}
}
