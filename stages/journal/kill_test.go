package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killedEnv has the test's binary be the process that is killed.
const killedEnv = "HEADINFER_TEST_JOURNAL"

const killedKeys = 4000

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		if err := beKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beKilled appends what is not done, in groups that commit at any time, and
// finishes.
func beKilled(path string) error {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 2))
	convert := func(dst *os.File, records io.Reader) error {
		w := bufio.NewWriter(dst)
		if _, err := io.Copy(w, records); err != nil {
			return err
		}
		return w.Flush()
	}
	if strings.HasSuffix(path, ".plain") {
		convert = nil
	}
	j, err := begun(path, Options{Ordered: strings.HasSuffix(path, ".ordered")})
	if err != nil {
		return err
	}
	fmt.Println(j.Records())
	for _, i := range r.Perm(killedKeys) {
		key := fmt.Sprintf("doc %04d", i)
		if j.Earlier(key, int64(i)) {
			continue
		}
		record := fmt.Appendf(nil, `{"id":%q,"answer":%q}`, key, strings.Repeat("x", i%300))
		if err := j.AppendAt(key, int64(i), record); err != nil {
			return err
		}
		if r.IntN(40) == 0 {
			j.mu.Lock()
			err := j.commit()
			j.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	if err := j.Finish(convert); err != nil {
		return err
	}
	return j.Close()
}

// TestKill kills a process at random instants until one comes to the end: the
// output has each key once, and every record whole.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"plain", "converted", "ordered"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r, path := random(t), filepath.Join(t.TempDir(), "a."+kind)
			kills, last := 0, int64(0)
			for tries := 0; ; tries++ {
				if tries > 200 {
					t.Fatal("no end")
				}
				c := exec.CommandContext(t.Context(), os.Args[0])
				c.Env = append(os.Environ(), killedEnv+"="+path)
				var out, errOut strings.Builder
				c.Stdout, c.Stderr = &out, &errOut
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				// Later and later, so that it gets somewhere.
				wait := time.Duration(r.Int64N(int64(30+10*tries))) * time.Millisecond
				timer := time.AfterFunc(wait, func() { _ = c.Process.Kill() })
				err := c.Wait()
				timer.Stop()
				if line, _, ok := strings.Cut(out.String(), "\n"); ok {
					records, err := strconv.ParseInt(line, 10, 64)
					if err != nil || records < last {
						t.Fatalf("after %d kills %q records, and %d before: %v", kills, line, last, err)
					}
					last = records
				}
				var exit *exec.ExitError
				switch {
				case err == nil && kills < 20:
					// It was too quick: from the beginning.
					for _, suffix := range []string{"", ".run", ".records"} {
						if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
							t.Fatal(err)
						}
					}
					last = 0
					continue
				case err == nil:
				case errors.As(err, &exit) && exit.ExitCode() > 0 || errOut.Len() > 0:
					t.Fatalf("after %d kills: %v: %s", kills, err, &errOut)
				default:
					kills++
					continue
				}
				break
			}
			got := keysOf(t, read(t, path))
			if kind == "ordered" && !slices.IsSorted(got) {
				t.Error("not in order")
			}
			slices.Sort(got)
			if distinct := slices.Compact(slices.Clone(got)); len(got) != killedKeys || len(distinct) != killedKeys {
				t.Errorf("after %d kills %d records of %d keys, expected %d", kills, len(got), len(distinct), killedKeys)
			}
			t.Logf("%d kills", kills)
		})
	}
}
