package transfer

import (
	"errors"
	"fmt"
	"testing"

	"headinfer/kernels/cpu"
)

// TestWatch keeps what is watched and nothing else, also where nothing is noted; a time line
// that keeps all gives all.
func TestWatch(t *testing.T) {
	dev := cpu.Open(1<<20, 2)
	defer dev.Close()
	s := dev.NewStream("work")
	for _, keeps := range []bool{false, true} {
		for _, still := range []bool{false, true} {
			line, asked := NewTimeline(dev, keeps), 0
			if still {
				line.Still()
			}
			pass := func(i int) error {
				line.Begin(Decode, Range{i, i + 1})
				line.Around(s, Compute, name{fmt.Sprint(i), &asked}, func() {})
				if err := s.Synchronize(); err != nil {
					return err
				}
				line.Settle()
				return nil
			}
			failed := errors.New("failed")
			var record *Record
			err := errors.Join(pass(0), func() (err error) {
				record, err = line.Watch(func() error { return errors.Join(pass(1), pass(2), failed) })
				if !errors.Is(err, failed) {
					return fmt.Errorf("the error is lost: %w", err)
				}
				return nil
			}(), pass(3))
			if err != nil {
				t.Fatal(err)
			}
			first, most := 1, 2
			if keeps {
				first, most = 0, 4
			}
			if len(record.Spans) != 3-first || len(record.Passes) != 3-first || record.Spans[0].Name != fmt.Sprint(first) || record.Passes[0].Tokens.From != first || asked != most {
				t.Errorf("keeps %v, still %v: %+v, %d names were asked for", keeps, still, record, asked)
			}
			for i, p := range record.Passes {
				if record.Spans[i].Pass != p.Number {
					t.Errorf("span %d is of pass %d, want %d", i, record.Spans[i].Pass, p.Number)
				}
			}
			if (line.Record() == nil) == keeps {
				t.Errorf("keeps %v: afterwards the record is %v", keeps, line.Record())
			}
		}
	}
}
