package cpu

import (
	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// scratch is the workspace of the operators: a part for each worker, and one
// for the packed operand that workers share. It grows to the largest that was
// asked for and is counted by the ledger.
type scratch struct {
	ledger  *kernels.Ledger
	workers [][]float32
	shared  []float32
	packed  simd.Packed
	counted int64 // bytes of packed that the ledger knows of
}

func newScratch(l *kernels.Ledger, workers int) *scratch {
	return &scratch{ledger: l, workers: make([][]float32, workers)}
}

// each makes every worker's part hold at least n floats.
func (s *scratch) each(n int, what string) error {
	for w := range s.workers {
		if err := s.grow(&s.workers[w], n, what); err != nil {
			return err
		}
	}
	return nil
}

// common returns the shared part with room for n floats.
func (s *scratch) common(n int, what string) ([]float32, error) {
	err := s.grow(&s.shared, n, what)
	return s.shared, err
}

func (s *scratch) grow(part *[]float32, n int, what string) error {
	if len(*part) >= n {
		return nil
	}
	if err := s.ledger.Take(4*int64(n-len(*part)), kernels.Workspace, what); err != nil {
		return err
	}
	*part = make([]float32, n)
	return nil
}

// room makes the packed operand hold rows × cols.
func (s *scratch) room(rows, cols int) error {
	bytes := 4 * int64(simd.PackedFloats(rows, cols))
	if bytes <= s.counted {
		return nil
	}
	if err := s.ledger.Take(bytes-s.counted, kernels.Workspace, "packed activations"); err != nil {
		return err
	}
	s.counted = bytes
	return nil
}
