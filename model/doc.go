// Package model reads checkpoints and runs the decoder in them: a Config says
// what a model is, a Checkpoint holds its weights as they lie in the files, or
// has a device make random ones of its shape, and a Decoder computes a forward
// pass on a device, layer by layer, leaving attention over the cached past to
// the Heads it was given.
//
// A pass takes a batch of segments, each the next tokens of one sequence; rows
// are the tokens of all segments one after another. Hidden states are
// [rows, hidden], queries [rows, heads*head_dim].
package model
