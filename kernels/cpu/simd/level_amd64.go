package simd

import (
	"golang.org/x/sys/cpu"

	"headinfer/kernels"
)

// machineLevels returns the levels beyond Go that this CPU has.
func machineLevels() []*kernelSet {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C {
		return nil
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ {
		if x.HasAVX512VNNI {
			best := avx512VNNI()
			if x.HasAVX512BF16 {
				best.pairs1 = [4]tileFunc{pairs1x1AVX512, pairs2x1AVX512, pairs4x1AVX512, pairs8x1AVX512}
				best.pairs3 = [4]tileFunc{pairs1x3AVX512, pairs2x3AVX512, pairs4x3AVX512, pairs8x3AVX512}
				best.roundPairs = roundPairsAVX512
			}
			return []*kernelSet{best, avx512(), avx2()}
		}
		return []*kernelSet{avx512(), avx2()}
	}
	return []*kernelSet{avx2()}
}

func avx512() *kernelSet {
	return &kernelSet{
		name: "avx512", lanes: 16, rows: 8, someRows: 32,
		tile1:      [4]tileFunc{tile1x1AVX512, tile2x1AVX512, tile4x1AVX512, tile8x1AVX512},
		tile3:      [4]tileFunc{tile1x3AVX512, tile2x3AVX512, tile4x3AVX512, tile8x3AVX512},
		transpose8: transpose8AVX2,
		decode: [encodings]decodeFunc{
			kernels.F32: decodeF32AVX512, kernels.F16: decodeF16AVX512, kernels.BF16: decodeBF16AVX512,
			kernels.Q8_0: decodeQ80AVX512, kernels.Q4_0: decodeQ40AVX512, kernels.Q4_1: decodeQ41AVX512,
			kernels.Q5_0: decodeQ50AVX512, kernels.Q5_1: decodeQ51AVX512,
			kernels.Q2K: decodeQ2KAVX512, kernels.Q3K: decodeQ3KAVX512, kernels.Q4K: decodeQ4KAVX512,
			kernels.Q5K: decodeQ5KAVX512, kernels.Q6K: decodeQ6KAVX512, kernels.IQ4NL: decodeIQ4NLAVX512,
			kernels.Int8G32: decodeInt8G32AVX512, kernels.Int8G64: decodeInt8G64AVX512,
			kernels.Int4G32: decodeQ41AVX512, kernels.Int4G64: decodeInt4G64AVX512,
		},
		keys8: keys8AVX512, keys4: keys4AVX512,
		product1: [encodings]productFunc{
			kernels.F32: productF32_1AVX512, kernels.F16: productF16_1AVX512, kernels.BF16: productBF16_1AVX512,
			kernels.Q8_0: productQ80_1AVX512, kernels.Q4_0: productQ40_1AVX512, kernels.Q4_1: productQ41_1AVX512,
			kernels.Q5_0: productQ50_1AVX512, kernels.Q5_1: productQ51_1AVX512,
			kernels.Q2K: lanesQ2KAVX512, kernels.Q3K: lanesQ3KAVX512, kernels.Q4K: lanesQ4KAVX512,
			kernels.Q5K: lanesQ5KAVX512, kernels.Q6K: lanesQ6KAVX512, kernels.IQ4NL: productIQ4NL_1AVX512,
		},
		// AVX2's loops for 16 bits read memory faster, by a tenth to a quarter.
		product4: [encodings]productFunc{
			kernels.F32: productF32_4AVX512, kernels.F16: productF16_4AVX2, kernels.BF16: productBF16_4AVX2,
			kernels.Q8_0: productQ80_4AVX512, kernels.Q4_0: productQ40_4AVX512, kernels.Q4_1: productQ41_4AVX512,
			kernels.Q5_0: productQ50_4AVX512, kernels.Q5_1: productQ51_4AVX512, kernels.IQ4NL: productIQ4NL_4AVX512,
		},
		lays:     true,
		softmax1: softmaxLanes1AVX512, softmax3: softmaxLanes3AVX512,
		mass1: massLanes1AVX512, mass3: massLanes3AVX512,
		dots:    [3]dotsFunc{dots1AVX512, dots2AVX512, dots4AVX512},
		values1: [3]valuesFunc{values1x1AVX512, values2x1AVX512, values4x1AVX512},
		values3: [3]valuesFunc{values1x3AVX512, values2x3AVX512, values4x3AVX512},
		values4: [3]valuesFunc{values1x4AVX512, values2x4AVX512, values4x4AVX512},
		values8: [3]valuesFunc{values1x1AVX2, values2x1AVX2, values4x1AVX2},
		expRow:  expRowAVX512, swiglu: swigluAVX512, geglu: gegluAVX512, capRow: capRowAVX512, sumSquares: sumSquaresAVX512, maxRow: maxRowAVX512,
		addRow: addRowAVX512, scaleRow: scaleRowAVX512, addScaleRow: addScaleRowAVX512, blendRow: blendRowAVX512, timesRow: timesRowAVX512,
		rotateRow: rotateRowAVX512, peakFMA: peakFMAAVX512, readAll: readAllAVX512,
	}
}

// avx512VNNI is avx512 with products of bytes.
func avx512VNNI() *kernelSet {
	s := avx512()
	s.name, s.limbBlock = "avx512vnni", limbBlockAVX512
	s.product1[kernels.Q2K], s.product1[kernels.Q3K], s.product1[kernels.Q4K] = limbsQ2KAVX512, limbsQ3KAVX512, limbsQ4KAVX512
	s.product1[kernels.Q5K], s.product1[kernels.Q6K] = limbsQ5KAVX512, limbsQ6KAVX512
	s.limbs = [encodings]*limbProduct{
		kernels.Q8_0:  {one: limbsQ80_1AVX512, more: limbsQ80_2AVX512, rows: 2, zero: 128},
		kernels.Q4_0:  {one: limbsQ40_1AVX512, more: limbsQ40_4AVX512, rows: 4, split: true, zero: 8},
		kernels.Q4_1:  {one: limbsQ41_1AVX512, more: limbsQ41_4AVX512, rows: 4, split: true, least: true},
		kernels.Q5_0:  {one: limbsQ50_1AVX512, more: limbsQ50_2AVX512, rows: 2, split: true, zero: 16},
		kernels.Q5_1:  {one: limbsQ51_1AVX512, more: limbsQ51_2AVX512, rows: 2, split: true, least: true},
		kernels.IQ4NL: {one: limbsIQ4NL_1AVX512, more: limbsIQ4NL_2AVX512, rows: 2, split: true, zero: 128},
	}
	return s
}

func avx2() *kernelSet {
	return &kernelSet{
		name: "avx2", lanes: 8, rows: 4, someRows: 7,
		tile1:      [4]tileFunc{tile1x1AVX2, tile2x1AVX2, tile4x1AVX2},
		tile3:      [4]tileFunc{tile1x3AVX2, tile2x3AVX2, tile4x3AVX2},
		transpose8: transpose8AVX2,
		decode: [encodings]decodeFunc{
			kernels.F32: decodeF32AVX2, kernels.F16: decodeF16AVX2, kernels.BF16: decodeBF16AVX2,
			kernels.Q8_0: decodeQ80AVX2, kernels.Q4_0: decodeQ40AVX2, kernels.Q4_1: decodeQ41AVX2,
			kernels.Q5_0: decodeQ50AVX2, kernels.Q5_1: decodeQ51AVX2,
			kernels.Q2K: decodeQ2KAVX2, kernels.Q3K: decodeQ3KAVX2, kernels.Q4K: decodeQ4KAVX2,
			kernels.Q5K: decodeQ5KAVX2, kernels.Q6K: decodeQ6KAVX2, kernels.IQ4NL: decodeIQ4NLAVX2,
			kernels.Int8G32: decodeInt8G32AVX2, kernels.Int8G64: decodeInt8G64AVX2,
			kernels.Int4G32: decodeQ41AVX2, kernels.Int4G64: decodeInt4G64AVX2,
		},
		keys8: keys8AVX2, keys4: keys4AVX2,
		product1: [encodings]productFunc{
			kernels.F32: productF32_1AVX2, kernels.F16: productF16_1AVX2, kernels.BF16: productBF16_1AVX2,
			kernels.Q8_0: productQ80_1AVX2, kernels.Q4_0: productQ40_1AVX2, kernels.Q4_1: productQ41_1AVX2,
			kernels.Q5_0: productQ50_1AVX2, kernels.Q5_1: productQ51_1AVX2,
			kernels.Q2K: productQ2KAVX2, kernels.Q3K: productQ3KAVX2, kernels.Q4K: productQ4KAVX2,
			kernels.Q5K: productQ5KAVX2, kernels.Q6K: productQ6KAVX2, kernels.IQ4NL: productIQ4NL_1AVX2,
		},
		product4: [encodings]productFunc{
			kernels.F32: productF32_4AVX2, kernels.F16: productF16_4AVX2, kernels.BF16: productBF16_4AVX2,
			kernels.Q8_0: productQ80_4AVX2, kernels.Q4_0: productQ40_4AVX2, kernels.Q4_1: productQ41_4AVX2,
			kernels.Q5_0: productQ50_4AVX2, kernels.Q5_1: productQ51_4AVX2, kernels.IQ4NL: productIQ4NL_4AVX2,
		},
		softmax1: softmaxLanes1AVX2, softmax3: softmaxLanes3AVX2,
		mass1: massLanes1AVX2, mass3: massLanes3AVX2,
		dots:    [3]dotsFunc{dots1AVX2, dots2AVX2, dots4AVX2},
		values1: [3]valuesFunc{values1x1AVX2, values2x1AVX2, values4x1AVX2},
		values3: [3]valuesFunc{values1x3AVX2, values2x3AVX2, values4x3AVX2},
		values8: [3]valuesFunc{values1x1AVX2, values2x1AVX2, values4x1AVX2},
		expRow:  expRowAVX2, swiglu: swigluAVX2, geglu: gegluAVX2, capRow: capRowAVX2, sumSquares: sumSquaresAVX2, maxRow: maxRowAVX2,
		addRow: addRowAVX2, scaleRow: scaleRowAVX2, addScaleRow: addScaleRowAVX2, blendRow: blendRowAVX2, timesRow: timesRowAVX2,
		rotateRow: rotateRowAVX2, peakFMA: peakFMAAVX2, readAll: readAllAVX2,
	}
}
