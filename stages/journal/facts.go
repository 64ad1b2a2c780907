package journal

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"
)

// Fact is something that the records were made with, and that must not change
// while they are added to.
type Fact struct {
	Name  string // unique, such as documents.decode.max_tokens
	Value string
	// Input says that the fact is a file that is read: new ones are no change.
	Input bool
	// Key is the record that is made of an input, where it is only one: without
	// that record the input may change. With "" it may not once there are any.
	Key string
	// Passing says that an input is another each time it is read, such as a pipe.
	// It is never a change, and with it there may always be something left to do.
	Passing bool
}

// Change is a fact that is not as it was.
type Change struct{ Name, Was, Is string } // Was or Is is "" for what was not, or is not there

// String says what the change is; of long values, where they begin to differ.
func (c Change) String() string {
	same := 0
	for same < min(len(c.Was), len(c.Is)) && c.Was[same] == c.Is[same] {
		same++
	}
	was, is := excerpt(c.Was, same), excerpt(c.Is, same)
	switch {
	case c.Was == "":
		return fmt.Sprintf("%s was not there and is %s", c.Name, is)
	case c.Is == "":
		return fmt.Sprintf("%s was %s and is gone", c.Name, was)
	}
	return fmt.Sprintf("%s was %s and is %s", c.Name, was, is)
}

// shownBytes is about how much of a value an error shows.
const shownBytes = 100

// excerpt is the part of a text around one of its bytes.
func excerpt(text string, at int) string {
	if len(text) <= shownBytes {
		return text
	}
	from := min(max(at-shownBytes/2, 0), len(text)-shownBytes)
	to := from + shownBytes
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	part := text[from:to]
	if from > 0 {
		part = "…" + part
	}
	if to < len(text) {
		part += "…"
	}
	return part
}

// ChangedError refuses to add to records that were made otherwise.
type ChangedError struct {
	Path    string
	Records int64
	Changes []Change
}

// shownChanges is how many changes an error lists.
const shownChanges = 5

// Error lists the changes and says what to do.
func (e *ChangedError) Error() string {
	var all []string
	for i, c := range e.Changes {
		if i == shownChanges {
			all = append(all, fmt.Sprintf("%d changes more", len(e.Changes)-i))
			break
		}
		all = append(all, c.String())
	}
	return fmt.Sprintf("%s has %d records that were made otherwise: %s; start over with --restart, or go on all the same with --accept-changes",
		e.Path, e.Records, strings.Join(all, "; "))
}

// fact is a Fact as the state keeps it, under its name.
type fact struct {
	Value string `json:"value"`
	Input bool   `json:"input,omitempty"`
	Key   string `json:"key,omitempty"` // quoted, as JSON cannot keep what is not UTF-8
}

func (f Fact) kept() fact {
	if f.Key == "" {
		return fact{f.Value, f.Input, ""}
	}
	return fact{f.Value, f.Input, strconv.QuoteToASCII(f.Key)}
}

// formFact is the name of the fact that Options.Form is kept as.
const formFact = "output"

// facts are all that must not change.
func (o *Options) facts() []Fact {
	if o.Form == "" {
		return o.Facts
	}
	return append(o.Facts[:len(o.Facts):len(o.Facts)], Fact{Name: formFact, Value: o.Form})
}

// compareFacts compares the facts with those of the records, and keeps the new
// ones.
func (j *Journal) compareFacts() error {
	now := j.opt.facts()
	found, err := j.differences(now)
	if err != nil {
		return j.describe(err)
	}
	if len(found.changes) > 0 && !j.opt.AcceptChanges {
		return &ChangedError{Path: j.path, Records: j.state.Records, Changes: found.changes}
	}
	if !found.any && !found.newInput {
		return nil
	}
	if found.form && j.state.Complete {
		if err := j.reopen(); err != nil {
			return err
		}
	}
	next := j.state
	// Or nobody would know, once they are kept, that there is something left to do.
	next.Pending = next.Complete
	err = j.update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucketFacts); err != nil {
			return err
		}
		facts, err := tx.CreateBucket(bucketFacts)
		if err != nil {
			return err
		}
		next.FactSum = 0
		for _, f := range now {
			if f.Passing {
				continue
			}
			value, err := json.Marshal(f.kept())
			if err != nil {
				return err
			}
			if err := facts.Put([]byte(f.Name), value); err != nil {
				return fmt.Errorf("the fact %q: %w", f.Name, err)
			}
			next.FactSum += digest([]byte(f.Name), value)
		}
		return next.put(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", j.statePath(), err)
	}
	j.state = next
	return nil
}

// differences are those between facts and the ones that were kept.
type differences struct {
	changes  []Change // those that matter to the records that there are
	any      bool     // there are some, though they may not matter
	newInput bool     // an input is new, or another than it was
	form     bool     // the output is to be made otherwise
}

func (j *Journal) differences(now []Fact) (d differences, err error) {
	err = j.view(func(tx *bolt.Tx) error {
		kept, keys := tx.Bucket(bucketFacts), tx.Bucket(bucketKeys)
		matters := func(f fact) bool {
			if !f.Input || f.Key == "" {
				return j.state.Records > 0
			}
			key, err := strconv.Unquote(f.Key)
			return err != nil || hasRecord(keys.Cursor(), key)
		}
		names := make(map[string]bool, len(now))
		for _, f := range now {
			if names[f.Name] {
				return fmt.Errorf("the fact %q is there twice", f.Name)
			}
			names[f.Name] = true
			if f.Passing {
				d.newInput = true
				continue
			}
			was, there, err := readFact(kept.Get([]byte(f.Name)))
			if err != nil {
				return err
			}
			is := f.kept()
			if there && was == is {
				continue
			}
			d.any = true
			if f.Name == formFact && !there { // of a state that did not keep it yet
				continue
			}
			d.form = d.form || f.Name == formFact
			d.newInput = d.newInput || f.Input && !(there && was.Value == is.Value)
			switch {
			case f.Input && !there: // new files are no change
			case there && was.Value == is.Value: // only its key is another
			case matters(is) || there && matters(was):
				d.changes = append(d.changes, Change{f.Name, was.Value, is.Value})
			}
		}
		return kept.ForEach(func(name, value []byte) error {
			if names[string(name)] {
				return nil
			}
			was, _, err := readFact(value)
			if err != nil {
				return err
			}
			d.any = true
			if matters(was) {
				d.changes = append(d.changes, Change{Name: string(name), Was: was.Value})
			}
			return nil
		})
	})
	return d, err
}

// hasRecord reports whether a document has records: under its own key, or under
// that with the number of a question or a part of the document behind it.
func hasRecord(c *bolt.Cursor, key string) bool {
	for _, prefix := range []string{key + "#", key + "@"} {
		if found, _ := c.Seek([]byte(prefix)); strings.HasPrefix(string(found), prefix) {
			return true
		}
	}
	found, _ := c.Seek([]byte(key))
	return string(found) == key
}

func readFact(value []byte) (f fact, there bool, err error) {
	if value == nil {
		return fact{}, false, nil
	}
	if err := json.Unmarshal(value, &f); err != nil {
		return fact{}, false, fmt.Errorf("%w: a fact: %w", errUnreadable, err)
	}
	return f, true, nil
}
