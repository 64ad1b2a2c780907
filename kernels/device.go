package kernels

import (
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Device is the whole of what an engine may ask of the hardware. Memory is
// taken and given back at once; everything that takes a Stream is only
// enqueued there and runs later, in the stream's order. Slices and tensors
// handed to an enqueued operator must stay as they are until it has run.
//
// An operator that fails (a device fault, shapes that do not fit together)
// makes its device fail: what follows on any stream does nothing, and
// Synchronize and Event.Wait return the first such error. Events still fire,
// so nothing waits for ever.
type Device interface {
	Memory
	Operators

	// Info describes the device.
	Info() Info
	// NewStream makes a stream; its name is its track in traces.
	NewStream(name string) Stream
	// NewEvent makes an event that counts as fired until it is recorded.
	NewEvent() Event
	// Err returns the device's first failure, if any.
	Err() error
	// Close waits for the streams and releases everything. It does not repeat
	// the device's failure.
	Close() error
}

// ExactRows is up to how many rows of activations are never rounded (Info.Products): few
// enough that a product's time is that of reading the weights. Decoding is exact as long as
// no more texts than that take their steps in one pass.
const ExactRows = 32

// Info describes a device.
type Info struct {
	Kind        string // "cpu" or "cuda"
	Name        string // for a person, such as "AMD EPYC, 2 threads, avx512"
	Activations DType  // the type of hidden states, queries, keys and values; f32 or narrower
	// Products is what more than ExactRows rows of activations are rounded to for products
	// with weights of that type; zero: they are multiplied as they are.
	Products DType
	Chunk    int // tokens of a pass from which on operators are near their best
	Nominal  Nominal
}

// Buffer is a device allocation. The zero Buffer holds nothing.
type Buffer struct {
	Data    unsafe.Pointer
	Bytes   int64
	Purpose Purpose
}

// Memory is a device's budgeted memory and the host memory it copies from.
type Memory interface {
	// Alloc takes bytes of uninitialised device memory. Past the budget it
	// returns a *BudgetError; what names the asker in it.
	Alloc(bytes int64, purpose Purpose, what string) (Buffer, error)
	// Free gives a buffer back, once no enqueued operator uses it.
	Free(Buffer)
	// Weight makes a checkpoint's matrix [rows, cols] usable by operators. A
	// device that reads host memory uses data where it lies, so data must
	// outlive the device; either way it counts towards the budget.
	Weight(what string, data []byte, d DType, rows, cols int) (Tensor, error)
	// NewWeight takes device memory for a matrix [rows, cols] of which the
	// checkpoint has no data: what is in it is unspecified until an operator
	// has written it. It lives as long as the device.
	NewWeight(what string, d DType, rows, cols int) (Tensor, error)
	// Ledger counts this device's memory.
	Ledger() *Ledger
	// InUse returns the bytes of device memory in use by the driver's own
	// count: of the whole card, what the context and libraries hold included.
	// It is 0 where there is no such count.
	InUse() int64
	// Prepare takes, once and ahead of need, the workspace of operators up to
	// a size, so that none asks for memory while a pass runs.
	Prepare(w Workload) error
	// Host allocates host memory that this device copies to and from at full
	// speed (pinned, where that means something).
	Host() memory.Allocator
	// Pageable allocates host memory as any program has it. Where memory can be
	// pinned, copies to and from this go at the driver's own pace, and may hold up
	// whoever enqueues them.
	Pageable() memory.Allocator
}

// Workload bounds the operators that will be enqueued.
type Workload struct {
	Rows    int // tokens of a pass
	Columns int // inputs of the widest linear layer
	KVHeads int
	Group   int // query heads a KV head
	HeadDim int
}

// Stream is a queue whose entries run one after another.
type Stream interface {
	Name() string
	// Record makes e fire when everything enqueued so far has run. Recording
	// again makes e stand for the new point.
	Record(e Event)
	// Wait holds what is enqueued after it until the point that e stood for
	// when Wait was called. An event never recorded holds nothing.
	Wait(e Event)
	// Synchronize blocks until the stream has run dry.
	Synchronize() error
}

// Event is a point in a stream.
type Event interface {
	// Wait blocks until the last recorded point has been reached.
	Wait() error
	// Time returns when that was, since the device was opened. It blocks as
	// Wait does.
	Time() time.Duration
}

// Operators are the fused steps of a decoder. T is the number of rows
// (tokens) of a pass. All tensors are on the device unless a name says host.
type Operators interface {
	// CopyIn copies host to device, CopyOut device to host, and CopyWithin
	// device to device; both sides have the same rows and row bytes.
	CopyIn(s Stream, dst, hostSrc Tensor)
	CopyOut(s Stream, hostDst, src Tensor)
	CopyWithin(s Stream, dst, src Tensor)
	// Scatter is CopyWithin of each of src to its dst, in no order: many small copies
	// cost little more than one.
	Scatter(s Stream, dst, src []Tensor)

	// Embed writes row ids[i] of table [vocabulary, hidden] times scale to out[i],
	// out [T, hidden].
	Embed(s Stream, out, table Tensor, ids []int32, scale float32)
	// RMSNorm writes x / sqrt(mean(x²) + eps) * weight, row by row, or adds it to
	// out; weight is f32 [1, hidden], read as Linear reads weights (Zhang & Sennrich
	// 2019).
	RMSNorm(s Stream, out, x, weight Tensor, eps float32, accumulate bool)
	// Linear multiplies x [T, in] by one or several weights w[i] [outs of i, in],
	// each in any encoding: out's columns are x·w[0]ᵀ, then x·w[1]ᵀ and so on, or
	// out gets that added. Weights that share their inputs are faster together.
	// A device may read a weight before what is enqueued ahead of the call has run:
	// of operators, only CopyIn, CopyWithin and Random may have written it.
	Linear(s Stream, out, x Tensor, w []Tensor, accumulate bool)
	// RotaryTable writes scale times the cosine and sine of position * frequency,
	// f32 [T, frequencies], computed in double precision. Both slices are on the
	// host.
	RotaryTable(s Stream, cos, sin Tensor, positions []int32, frequencies []float64, scale float64)
	// RotateSplit turns the projections of a pass into what attention takes.
	RotateSplit(s Stream, a RotateArgs)
	// Attention attends to tiles of keys and values that do not depend on each
	// other: none writes what another reads or writes. Together they cost less
	// than one by one, above all where each has few queries. The slices in tiles
	// and itself are the caller's again when it returns.
	Attention(s Stream, tiles []AttentionArgs)
	// Merge folds a second partial attention result into the first, exactly:
	// out and lse as in AttentionArgs.
	Merge(s Stream, out, lse, out2, lse2 Tensor, headDim int)
	// QuantizeKV encodes keys and values: dst is in one of KVCodes, and the
	// pieces of src, in the activations' type, are as many tokens together in
	// order of position. A block's minimum is its least number and its scale a
	// 255th or 15th of what lies between that and the largest, both rounded to
	// f16 (and kept finite); its codes are the nearest to what they stand for.
	QuantizeKV(s Stream, dst KV, src []KV)
	// DequantizeKV writes what src, in one of KVCodes, stands for to dst, in the
	// activations' type.
	DequantizeKV(s Stream, dst, src KV)
	// AttentionMass adds to mass, f32 [kv heads, keys], what each key has received
	// of the attention that a describes and that has been computed already: the
	// sum over queries and the KV head's query heads of exp(scale * q·k - LSE),
	// over the keys that the mask lets through. Out is not used, and Merge, Window
	// and SoftCap are not set (H2O, Zhang et al. 2023).
	AttentionMass(s Stream, mass Tensor, a AttentionArgs)
	// Convert writes x, f32, to out in out's own type, rounding once.
	Convert(s Stream, out, x Tensor)
	// GLU writes act(gate) * up for gateUp [T, 2*ffn] with the gate's columns
	// first, out [T, ffn]. out may be the gate's columns.
	GLU(s Stream, out, gateUp Tensor, act Activation)
	// Random writes independent normal numbers: element (r, c) of out, which is
	// f32, f16 or bf16, depends on the seed and r*cols+c alone, and is the same
	// on every device up to rounding.
	Random(s Stream, out Tensor, seed uint64, mean, deviation float64)
}

// Activation is the nonlinearity of a gated linear unit.
type Activation uint8

// The activations.
const (
	SiLU     Activation = iota
	GELUTanh            // GELU by its approximation with tanh (Hendrycks & Gimpel 2016)
)

// RotateArgs are RotateSplit's operands. Queries are made ready for attention
// in place; keys and values are moved into NewKV [kv heads, T, head_dim], keys
// made ready on the way: biases are added, heads normalised as RMSNorm does,
// and rotated, in this order and as far as there are such.
type RotateArgs struct {
	Q, K, V             Tensor // [T, heads*head_dim], [T, kv heads*head_dim] twice
	QBias, KBias, VBias Tensor // f32 [1, as Q, K and V]; zero Tensors: none
	QNorm, KNorm        Tensor // f32 [1, head_dim], weights of each head's norm; zero Tensors: none
	NormEps             float32
	// Cos and Sin are f32 [T, half] each: the first 2*half channels of each head
	// are rotated, up to all of head_dim. Without rows, none are.
	Cos, Sin    Tensor
	NewKV       KV
	HeadDim     int
	Interleaved bool // pairs are neighbours (2i, 2i+1), not halves (i, i+half)
}

// AttentionArgs are the operands of one attention tile: the query heads of
// some KV heads against some keys and values.
//
// For each query head: out = softmax(scale * q·Kᵀ) V over the keys that the
// mask lets through, and lse = log Σ exp(scale * q·k). With Merge the result
// is folded into what Out and LSE hold already, so that any division of the
// keys into calls gives the same function (FlashAttention-2, section 3.1.1).
type AttentionArgs struct {
	Q   Tensor // [T, kv heads * group * head_dim]
	Out Tensor // as Q, in the activations' type or in f32, which a result that is merged many times should be in
	LSE Tensor // f32 [kv heads * group, T]
	// KV lists the tile's keys and values in order of position; all have the
	// same heads. Several pieces save copying them together.
	KV      []KV
	Group   int // query heads a KV head
	HeadDim int
	Scale   float32
	// Causal masks bottom-right: of T queries against N keys, query i sees
	// keys 0 … N-T+i.
	Causal bool
	// Window, with Causal, is how many of these it sees, the last ones; 0: all
	// (sliding window attention, Beltagy et al. 2020).
	Window int
	// SoftCap bounds scores before the mask: cap * tanh(score / cap); 0: not at all
	// (Gemma 2).
	SoftCap float32
	Merge   bool
}
