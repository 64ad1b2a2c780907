package devicetest

import (
	"encoding/binary"
	"math"
	"testing"

	"headinfer/kernels"
)

// encoded makes random rows of an encoding and what they stand for.
func (b *bench) encoded(d kernels.DType, rows, cols int) (data []byte, values []float64) {
	rowBytes, err := d.RowBytes(cols)
	if err != nil {
		b.t.Fatal(err)
	}
	for range rows * rowBytes / d.BlockBytes() {
		block := make([]byte, d.BlockBytes())
		for i := range block {
			block[i] = byte(b.rand.Uint32())
		}
		x := float32(b.rand.NormFloat64())
		// 0.03 and -0.25 in half precision: plain scales, so that sums stay small.
		const scale, low = 0x27ae, 0xb400
		s, m := half(scale), half(low)
		switch d {
		case kernels.F32:
			binary.LittleEndian.PutUint32(block, math.Float32bits(x))
			values = append(values, float64(x))
		case kernels.BF16:
			top := math.Float32bits(x) & 0xffff0000
			binary.LittleEndian.PutUint16(block, uint16(top>>16))
			values = append(values, float64(math.Float32frombits(top)))
		case kernels.F16:
			bits := uint16(b.rand.Uint32())&0x83ff | uint16(10+b.rand.IntN(7))<<10
			binary.LittleEndian.PutUint16(block, bits)
			values = append(values, half(bits))
		case kernels.Q8_0:
			binary.LittleEndian.PutUint16(block, scale)
			for _, q := range block[2:] {
				values = append(values, s*float64(int8(q)))
			}
		case kernels.Q4_0:
			binary.LittleEndian.PutUint16(block, scale)
			values = append(values, nibbles(block[2:], func(q, _ int) float64 { return s * float64(q-8) })...)
		case kernels.Q4_1:
			binary.LittleEndian.PutUint16(block, scale)
			binary.LittleEndian.PutUint16(block[2:], low)
			values = append(values, nibbles(block[4:], func(q, _ int) float64 { return s*float64(q) + m })...)
		case kernels.Q5_0:
			binary.LittleEndian.PutUint16(block, scale)
			high := binary.LittleEndian.Uint32(block[2:])
			values = append(values, nibbles(block[6:], func(q, i int) float64 { return s * float64(q|int(high>>i&1)<<4-16) })...)
		case kernels.Q5_1:
			binary.LittleEndian.PutUint16(block, scale)
			binary.LittleEndian.PutUint16(block[2:], low)
			high := binary.LittleEndian.Uint32(block[4:])
			values = append(values, nibbles(block[8:], func(q, i int) float64 { return s*float64(q|int(high>>i&1)<<4) + m })...)
		default:
			more := superBlock(block, d)
			if more == nil {
				b.t.Fatalf("no encoding %s here", d)
			}
			values = append(values, more...)
		}
		data = append(data, block...)
	}
	return data, values
}

func nibbles(packed []byte, value func(q, i int) float64) []float64 {
	out := make([]float64, 32)
	for i, p := range packed {
		out[i] = value(int(p&15), i)
		out[i+16] = value(int(p>>4), i+16)
	}
	return out
}

// half decodes a finite half-precision number.
func half(bits uint16) float64 {
	sign := 1.0
	if bits>>15 == 1 {
		sign = -1
	}
	if bits&0x7c00 == 0 {
		return sign * math.Ldexp(float64(bits&0x3ff), -24)
	}
	return sign * math.Ldexp(1+float64(bits&0x3ff)/1024, int(bits>>10&31)-15)
}

func (b *bench) weight(data []byte, d kernels.DType, rows, cols int) kernels.Tensor {
	w, err := b.dev.Weight("test", data, d, rows, cols)
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

func testEmbed(t *testing.T, b *bench) {
	for _, d := range kernels.DTypes() {
		const vocab = 50
		hidden := 3 * max(32, d.Block())
		data, values := b.encoded(d, vocab, hidden)
		table := b.weight(data, d, vocab, hidden)
		ids := []int32{49, 0, 7, 7, 23}
		for _, scale := range []float32{1, 0.5 + 40*b.rand.Float32()} {
			out := b.empty(len(ids), hidden)
			b.dev.Embed(b.stream, out, table, ids, scale)
			var want []float64
			for _, id := range ids {
				for _, x := range values[int(id)*hidden : (int(id)+1)*hidden] {
					want = append(want, x*float64(scale))
				}
			}
			b.near("rows of "+d.String(), b.read(out), want, 1e-6)
		}
	}
}

func testRMSNorm(t *testing.T, b *bench) {
	for _, n := range []int{8, 72, 577} {
		const rows, eps = 19, 1e-5
		x, w, base := b.normal(rows*n), b.normal(n), b.normal(rows*n)
		in, weight := b.put(x, rows, n), b.weight(bytesOf(w), kernels.F32, 1, n)
		var want []float64
		for r := range rows {
			want = append(want, normed(doubles(x[r*n:(r+1)*n]), w, eps)...)
		}
		out := b.empty(rows, n)
		b.dev.RMSNorm(b.stream, out, in, weight, eps, false)
		b.near("rmsnorm", b.read(out), want, 1e-5)
		b.write(out, base)
		b.dev.RMSNorm(b.stream, out, in, weight, eps, true)
		for i := range want {
			want[i] += float64(base[i])
		}
		b.near("adding rmsnorm", b.read(out), want, 1e-5)
	}
}

// normed is the definition of RMSNorm, of one row.
func normed(x []float64, weight []float32, eps float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v / math.Sqrt(sum/float64(len(x))+eps) * float64(weight[i])
	}
	return out
}

func doubles(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func bytesOf(x []float32) []byte {
	out := make([]byte, 0, 4*len(x))
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func testGLU(t *testing.T, b *bench) {
	const rows, ffn = 33, 100
	x := b.normal(rows * 2 * ffn)
	for i := range x {
		x[i] *= 4 // some gates are nearly open or closed
	}
	for name, act := range map[string]struct {
		act kernels.Activation
		of  func(x float64) float64
	}{
		"swiglu": {kernels.SiLU, func(x float64) float64 { return x / (1 + math.Exp(-x)) }},
		"geglu": {kernels.GELUTanh, func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}},
	} {
		out, gateUp := b.empty(rows, ffn), b.put(x, rows, 2*ffn)
		b.dev.GLU(b.stream, out, gateUp, act.act)
		want := make([]float64, rows*ffn)
		for r := range rows {
			for i := range ffn {
				want[r*ffn+i] = act.of(float64(x[r*2*ffn+i])) * float64(x[r*2*ffn+ffn+i])
			}
		}
		b.near(name, b.read(out), want, 1e-5)
		inPlace := gateUp.ColRange(0, ffn)
		b.dev.GLU(b.stream, inPlace, gateUp, act.act)
		b.near(name+" in the gate's place", b.read(inPlace), want, 1e-5)
	}
}

func testConvert(t *testing.T, b *bench) {
	for _, cols := range []int{1, 77, 1032, 4096} {
		const rows = 5
		x := make([]float32, rows*cols)
		want := make([]float64, len(x))
		for i := range x {
			x[i] = float32(b.rand.NormFloat64() * math.Exp(4*b.rand.NormFloat64()))
			want[i] = float64(x[i])
		}
		wide := b.floats(rows, cols+8).ColRange(0, cols)
		b.write(wide, x)
		out := b.empty(rows, cols)
		b.dev.Convert(b.stream, out, wide)
		got := b.read(out)
		for i := range got {
			// Half a unit in bf16's last place, which f32 is well within.
			if math.Abs(float64(got[i])-want[i]) > math.Abs(want[i])/256 {
				t.Fatalf("%d columns: %g became %g", cols, want[i], got[i])
			}
		}
	}
}
