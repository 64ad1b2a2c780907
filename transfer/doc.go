// Package transfer is what moves: the key–value cache in host memory, the ring
// of device slots that its tiles pass through, and the order in which they do.
//
// A sequence's cache is, for every layer, a chain of blocks; a block holds K
// and V each as [KV heads, capacity, head_dim], so that the tokens of one head
// are contiguous and a tile (some heads × a span of tokens) is one strided
// copy of K and one of V. Blocks on the host are Arrow buffers; blocks on the
// device are counted by its ledger.
//
// transfer knows devices (package kernels) and nothing of models.
package transfer
