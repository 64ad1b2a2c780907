package kernels

import (
	"fmt"
	"slices"
)

// CheckCoded is for devices. It fails unless coded's tokens are whole records,
// of the same heads and as many as plain's pieces, which are in the activations'
// type.
func CheckCoded(activations DType, coded KV, plain ...KV) error {
	if !slices.Contains(KVCodes(), coded.DType) {
		return fmt.Errorf("%s is not an encoding of keys and values", coded.DType)
	}
	if block := coded.DType.Block(); coded.HeadDim%block != 0 || coded.Tokens%block != 0 {
		return fmt.Errorf("%d tokens of %d channels are not whole blocks of %s", coded.Tokens, coded.HeadDim, coded.DType)
	}
	tokens := 0
	for _, p := range plain {
		if p.DType != activations || p.Heads != coded.Heads || p.HeadDim != coded.HeadDim {
			return fmt.Errorf("%d heads of %d in %s beside %d of %d in %s, where %s is expected",
				p.Heads, p.HeadDim, p.DType, coded.Heads, coded.HeadDim, coded.DType, activations)
		}
		tokens += p.Tokens
	}
	if tokens != coded.Tokens {
		return fmt.Errorf("%d tokens beside %d in %s", tokens, coded.Tokens, coded.DType)
	}
	return nil
}
