package transfer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"

	"headinfer/kernels"
)

// A snapshot is the key–value cache of a text in an Arrow IPC file: what a
// sequence holds of its first tokens, and what it is of. docs/snapshots.md has
// the format. The files here: this one says what a snapshot is of,
// snapshotlayout.go where everything lies in the file, snapshotplaces.go where it
// lies in a sequence, snapshotwrite.go and snapshotread.go move it, and
// snapshotdir.go is a directory of many.

// snapshotVersion changes with the format, and with anything in the decoder
// after which one text has other keys and values.
const snapshotVersion = 1

// SnapshotOf says what keys and values are of: where all of it is the same, the
// same tokens have the same keys and values, up to the rounding of passes that
// fall otherwise.
type SnapshotOf struct {
	Model       string // fingerprint
	Name        string // of the model, for a person; not compared
	Method      string // what makes the results inexact, or depend on more than the tokens; "" if nothing does
	Shape       Shape  // as the cache has it
	Activations kernels.DType
}

// SnapshotError says what is wrong with a snapshot, by name.
type SnapshotError struct {
	Path    string
	Foreign bool // it is whole, and of something else; otherwise it is damaged
	What    string
	Err     error // the cause, or nil
}

// Error names the file and what was found.
func (e *SnapshotError) Error() string {
	s := "snapshot " + e.Path + " " + e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *SnapshotError) Unwrap() error { return e.Err }

// snapshotHeader is what a file says of itself, as JSON in its schema's metadata.
// The first three fields have fixed places, so that it is found, and known to be
// whole, without following anything that a damaged file says.
type snapshotHeader struct {
	Format      string    `json:"format"`
	Checksum    string    `json:"checksum"` // XXH3 of what comes after it
	Length      string    `json:"length"`   // bytes of all of it
	Model       string    `json:"model"`
	Name        string    `json:"name"`
	Method      string    `json:"method,omitempty"`
	Layers      int       `json:"layers"`
	KVHeads     int       `json:"kv_heads"`
	HeadDim     int       `json:"head_dim"`
	DType       string    `json:"dtype"`
	Activations string    `json:"activations"`
	Window      int       `json:"window,omitempty"`
	Local       []bool    `json:"local,omitempty"`
	Tokens      int       `json:"tokens"`
	Logits      int       `json:"logits,omitempty"` // of the token to come, f32; 0: not kept
	Span        int       `json:"span"`             // most tokens of a batch
	Begins      string    `json:"begins,omitempty"` // the first words of the text
	Written     time.Time `json:"written"`
	IDs         []byte    `json:"ids"`       // of the tokens, int32, little-endian
	Checksums   []byte    `json:"checksums"` // of each batch, uint64, little-endian: see eachPart
}

// Where the header is in a file.
const (
	snapshotKey    = "headinfer.kv" // in the schema's metadata
	snapshotFormat = "headinfer.kv/"
	headerMark     = `{"format":"` + snapshotFormat
	// As a checksum and a length are written.
	checksumForm = "%016x"
	lengthForm   = "%012d"
)

// Limits that no cache comes near: what passes them is damaged, and arithmetic on
// what is within them cannot overflow.
const (
	maxSnapshotLayers = 1 << 12
	maxSnapshotDim    = 1 << 20
	maxSnapshotWords  = 160 // bytes of Begins
)

// spanBytes is about how much of one head's keys a batch holds: enough for a disk
// and a copy to run at full speed, and so little that many threads have work.
const spanBytes = 8 << 20

func newSnapshotHeader(of SnapshotOf, tokens, logits int, begins string) snapshotHeader {
	h := snapshotHeader{
		Format: snapshotFormat + strconv.Itoa(snapshotVersion), Model: of.Model, Name: of.Name, Method: of.Method,
		Layers: of.Shape.Layers, KVHeads: of.Shape.KVHeads, HeadDim: of.Shape.HeadDim,
		DType: of.Shape.DType.String(), Activations: of.Activations.String(),
		Tokens: tokens, Logits: logits, Begins: firstWords(begins), Written: time.Now().UTC().Truncate(time.Second),
	}
	if l := of.Shape.Local; l != nil {
		h.Window, h.Local = l.Window, l.Layers
	}
	const whole = 64 // tokens: records of every encoding
	h.Span = max(spanBytes/(h.HeadDim*of.Activations.BlockBytes())/whole*whole, whole)
	return h
}

// firstWords cuts a text to what a table has room for.
func firstWords(text string) string {
	end := 0
	for i, r := range text {
		if i+len(string(r)) > maxSnapshotWords {
			break
		}
		end = i + len(string(r))
	}
	return text[:end]
}

// of returns what the snapshot is of, or what about that cannot be.
func (h snapshotHeader) of() (SnapshotOf, error) {
	of := SnapshotOf{Model: h.Model, Name: h.Name, Method: h.Method}
	for _, dim := range []struct {
		name            string
		value, min, max int
	}{
		{"layers", h.Layers, 1, maxSnapshotLayers}, {"KV heads", h.KVHeads, 1, maxSnapshotDim}, {"head_dim", h.HeadDim, 1, maxSnapshotDim},
		{"tokens", h.Tokens, 1, math.MaxInt32}, {"logits", h.Logits, 0, 1 << 26}, {"tokens of a batch", h.Span, 64, math.MaxInt32},
	} {
		if dim.value < dim.min || dim.value > dim.max {
			return of, fmt.Errorf("%s: %d; expected %d to %d", dim.name, dim.value, dim.min, dim.max)
		}
	}
	of.Shape = Shape{Layers: h.Layers, KVHeads: h.KVHeads, HeadDim: h.HeadDim}
	var ok bool
	if of.Activations, ok = dtypeNamed([]kernels.DType{kernels.F32, kernels.F16, kernels.BF16}, h.Activations); !ok {
		return of, fmt.Errorf("activations in %q", h.Activations)
	}
	if of.Shape.DType, ok = dtypeNamed(append(kernels.KVCodes(), of.Activations), h.DType); !ok {
		return of, fmt.Errorf("keys and values in %q with activations in %s", h.DType, of.Activations)
	}
	if block := of.Shape.DType.Block(); h.Span%block != 0 || h.HeadDim%block != 0 {
		return of, fmt.Errorf("%d tokens of a batch and %d channels of a head, in records of %d", h.Span, h.HeadDim, block)
	}
	if h.Window != 0 || h.Local != nil {
		if h.Window < 1 || h.Window > math.MaxInt32 || len(h.Local) != h.Layers {
			return of, fmt.Errorf("a window of %d tokens for %d of %d layers", h.Window, len(h.Local), h.Layers)
		}
		of.Shape.Local = &Local{Window: h.Window, Layers: h.Local}
	}
	return of, nil
}

func dtypeNamed(among []kernels.DType, name string) (kernels.DType, bool) {
	for _, d := range among {
		if d.String() == name {
			return d, true
		}
	}
	return kernels.Invalid, false
}

// differs says what a snapshot is of that is not what is asked for; "" if nothing.
func (of SnapshotOf) differs(want SnapshotOf) string {
	a, b := of.Shape, want.Shape
	switch {
	case of.Model != want.Model:
		return fmt.Sprintf("is of another model: %s (fingerprint %.12s), not %s (%.12s)", of.Name, of.Model, want.Name, want.Model)
	case of.Activations != want.Activations || a.DType != b.DType:
		return fmt.Sprintf("holds keys and values in %s, read with activations in %s; this run has %s and %s", a.DType, of.Activations, b.DType, want.Activations)
	case a.Layers != b.Layers || a.KVHeads != b.KVHeads || a.HeadDim != b.HeadDim || !a.Local.equal(b.Local):
		return fmt.Sprintf("has another shape: %s, not %s", a, b)
	case of.Method != want.Method:
		return fmt.Sprintf("was made with %s, this run has %s", methodOf(of.Method), methodOf(want.Method))
	}
	return ""
}

func methodOf(m string) string {
	if m == "" {
		return "exact settings"
	}
	return "(" + m + ")"
}

func (l *Local) equal(other *Local) bool {
	if l == nil || other == nil {
		return l == other
	}
	same := l.Window == other.Window && len(l.Layers) == len(other.Layers)
	for i := 0; same && i < len(l.Layers); i++ {
		same = l.Layers[i] == other.Layers[i]
	}
	return same
}

// String describes the shape, such as "32 layers of 8 KV heads of 128 channels".
func (s Shape) String() string {
	text := fmt.Sprintf("%d layers of %d KV heads of %d channels", s.Layers, s.KVHeads, s.HeadDim)
	if s.Local != nil {
		text += fmt.Sprintf(", %d of them with a window of %d tokens", s.Layers-s.Full(), s.Local.Window)
	}
	return text
}

// key names a snapshot after what it is of and its tokens.
func (of SnapshotOf) key(tokens []int32) string {
	h := newSnapshotHeader(of, len(tokens), 0, "")
	h.Name, h.Written = "", time.Time{}
	text, err := json.Marshal(h)
	if err != nil {
		return "" // a struct of plain fields
	}
	sum := xxh3.Hash128(append(text, tokenBytes(tokens)...)).Bytes()
	return fmt.Sprintf("%x", sum[:])
}

func tokenBytes(tokens []int32) []byte {
	data := make([]byte, 0, 4*len(tokens))
	for _, id := range tokens {
		data = binary.LittleEndian.AppendUint32(data, uint32(id))
	}
	return data
}

// text writes the header with its tokens and the batches' checksums, as JSON.
func (h snapshotHeader) text(tokens []int32, sums []uint64) (string, error) {
	h.Checksum, h.Length = fmt.Sprintf(checksumForm, 0), fmt.Sprintf(lengthForm, 0)
	h.IDs, h.Checksums = tokenBytes(tokens), make([]byte, 0, 8*len(sums))
	for _, sum := range sums {
		h.Checksums = binary.LittleEndian.AppendUint64(h.Checksums, sum)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	_, sum, length, rest := headerFields(text)
	if rest == nil {
		return "", errors.New("snapshot: the header does not begin as it should")
	}
	copy(length, fmt.Sprintf(lengthForm, len(text)))
	copy(sum, fmt.Sprintf(checksumForm, xxh3.Hash(rest)))
	return string(text), nil
}

// headerFields returns the fields with fixed places, and all that comes after the
// checksum; nil if text does not begin as a header.
func headerFields(text []byte) (version, sum, length, rest []byte) {
	text, ok := bytes.CutPrefix(text, []byte(headerMark))
	if !ok {
		return nil, nil, nil, nil
	}
	version, text, ok = bytes.Cut(text, []byte(`","checksum":"`))
	if !ok || len(version) > 9 {
		return nil, nil, nil, nil
	}
	sum, rest, ok = bytes.Cut(text, []byte(`"`))
	length, ok2 := bytes.CutPrefix(rest, []byte(`,"length":"`))
	if !ok || !ok2 || len(sum) != 16 || len(length) < 12 {
		return nil, nil, nil, nil
	}
	return version, sum, length[:12], rest
}

// readHeader finds a header in the bytes of a schema.
func readHeader(schema []byte) (h snapshotHeader, tokens []int32, sums []uint64, err error) {
	at := max(bytes.Index(schema, []byte(headerMark)), 0)
	version, sum, lengthText, rest := headerFields(schema[at:])
	if rest == nil {
		return h, nil, nil, errors.New("its schema says nothing of a snapshot")
	}
	if string(version) != strconv.Itoa(snapshotVersion) {
		return h, nil, nil, &SnapshotError{Foreign: true, What: fmt.Sprintf("has version %.9q of the format; this program reads %d", version, snapshotVersion)}
	}
	length, err := strconv.Atoi(string(lengthText))
	if err != nil || length > len(schema)-at || length < len(schema)-at-len(rest) {
		return h, nil, nil, fmt.Errorf("its header takes %q bytes", lengthText)
	}
	text := schema[at : at+length]
	rest = rest[:len(rest)-(len(schema)-at-length)]
	if fmt.Sprintf(checksumForm, xxh3.Hash(rest)) != string(sum) {
		return h, nil, nil, errors.New("the checksum of its header does not match")
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, nil, nil, fmt.Errorf("its header: %w", err)
	}
	if len(h.IDs) != 4*h.Tokens || len(h.Checksums)%8 != 0 {
		return h, nil, nil, fmt.Errorf("its header has %d bytes of ids for %d tokens, and %d of checksums", len(h.IDs), h.Tokens, len(h.Checksums))
	}
	tokens = make([]int32, h.Tokens)
	for i := range tokens {
		tokens[i] = int32(binary.LittleEndian.Uint32(h.IDs[4*i:]))
	}
	for raw := h.Checksums; len(raw) > 0; raw = raw[8:] {
		sums = append(sums, binary.LittleEndian.Uint64(raw))
	}
	return h, tokens, sums, nil
}
