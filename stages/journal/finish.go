package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Finish makes PATH whole under its name and marks the run as complete, unless
// documents failed: then the next run tries those again. convert writes the
// output from the records, a line each, to a file that is renamed to PATH; where
// it is nil the records are the output. What was there under PATH is replaced.
func (j *Journal) Finish(convert func(dst *os.File, records io.Reader) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	if err := j.commit(); err != nil {
		j.told = true
		return err
	}
	if j.opt.Failed != nil {
		j.state.Failed = j.opt.Failed()
	}
	j.state.Pending = false
	if j.state.Complete { // nothing came
		return j.save()
	}
	if err := j.finish(convert); err != nil {
		j.failed = fmt.Errorf("%w; the %d records are in %s: see to it, and run again", err, j.state.Records, j.partial())
		j.told = true
		return j.failed
	}
	return nil
}

func (j *Journal) finish(convert func(dst *os.File, records io.Reader) error) error {
	if err := j.file.Sync(); err != nil { // also where there are no records
		return err
	}
	order, err := j.order()
	if err != nil {
		return err
	}
	if convert == nil && order != nil {
		convert = func(dst *os.File, records io.Reader) error {
			_, err := io.Copy(dst, records)
			return err
		}
	}
	temporary := j.path + ".new"
	if convert != nil {
		if err := j.make(temporary, convert, order); err != nil {
			return errors.Join(err, removeIfThere(temporary))
		}
	}
	j.state.Finishing, j.state.Converted = true, convert != nil
	if err := j.save(); err != nil {
		return err
	}
	if err := j.file.Close(); err != nil {
		return err
	}
	j.file = nil
	if convert != nil {
		// Before PATH.partial's, by which the next Open knows how far this came.
		if err := rename(temporary, j.path); err != nil {
			return err
		}
	}
	if err := j.removeLeftovers(); err != nil { // before the rename, after which nothing is left to do
		return err
	}
	if err := rename(j.partial(), j.whole()); err != nil {
		return err
	}
	if convert == nil {
		if err := removeIfThere(j.records()); err != nil {
			return err
		}
	}
	j.state.Finishing, j.state.Complete = false, true
	return j.save()
}

// make writes the output in its own format.
func (j *Journal) make(name string, convert func(dst *os.File, records io.Reader) error, order []place) error {
	dst, err := os.Create(name)
	if err != nil {
		return err
	}
	var records io.Reader = io.NewSectionReader(j.file, 0, j.state.Bytes)
	if order != nil {
		records = &inOrder{file: j.file, left: order}
	}
	err = convert(dst, records)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// order returns where the records are in the order of their indexes; nil when
// that is the file's, or any order will do. It takes 24 bytes a record.
func (j *Journal) order() ([]place, error) {
	if !j.opt.Ordered {
		return nil, nil
	}
	all := make([]place, 0, j.state.Records)
	err := j.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketKeys).ForEach(func(k, v []byte) error {
			p, ok := parsePlace(v)
			if !ok {
				return j.damaged(j.statePath(), fmt.Sprintf("has the key %q without its place", k))
			}
			all = append(all, p)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.from, b.from)) })
	if slices.IsSortedFunc(all, func(a, b place) int { return cmp.Compare(a.from, b.from) }) {
		return nil, nil
	}
	return all, nil
}

// inOrder reads records one after the other from where they are.
type inOrder struct {
	file *os.File
	left []place
	at   int64 // bytes read of the first
}

// Read reads on.
func (r *inOrder) Read(p []byte) (int, error) {
	total := 0
	for total < len(p) && len(r.left) > 0 {
		next := r.left[0]
		n, err := r.file.ReadAt(p[total:min(len(p), total+int(next.length-r.at))], next.from+r.at)
		total, r.at = total+n, r.at+int64(n)
		if err != nil {
			return total, err
		}
		if r.at == next.length {
			r.left, r.at = r.left[1:], 0
		}
	}
	if total == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return total, nil
}

// reopen makes a complete output one that records can be added to: PATH stays
// until it is whole again.
func (j *Journal) reopen() error {
	from, err := os.Open(j.whole())
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(j.partial())
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		err = syncDir(j.path)
	}
	if err != nil {
		return errors.Join(err, to.Close())
	}
	j.file = to
	j.state.Complete, j.state.Converted = false, false
	return nil
}
