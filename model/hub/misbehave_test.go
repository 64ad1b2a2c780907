package hub

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func rangeFrom(n int64) string { return fmt.Sprintf("bytes=%d-", n) }

// trickle sends the beginning of a large file at once, and then hardly anything.
func (f *fakeHub) trickle(etag string, before int) {
	data := f.content(etag)
	f.behaves(func(w http.ResponseWriter, r *http.Request, a asked) bool {
		if !a.cdn || !strings.HasSuffix(a.path, etag) {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		flush := http.NewResponseController(w)
		for at, n := 0, before; at < len(data); at, n = at+n, 1 {
			if _, err := w.Write(data[at:min(at+n, len(data))]); err != nil || flush.Flush() != nil {
				break
			}
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
				continue
			}
			break
		}
		return true
	})
}

// TestMisbehaviour has the servers do something wrong to every large file, once
// or more: the pull makes it good.
func TestMisbehaviour(t *testing.T) {
	r := random(t)
	// part sends part of the contents and cuts the connection.
	part := func(w http.ResponseWriter, data []byte) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:r.IntN(len(data))])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, c := range []struct {
		name   string
		times  int  // that each file is served so
		whole  bool // the last of these is as good as any
		behave func(w http.ResponseWriter, data []byte, a asked)
	}{
		{"cut", 1, false, func(w http.ResponseWriter, data []byte, _ asked) { part(w, data) }},
		{"cut again and again", 4, false, func(w http.ResponseWriter, data []byte, a asked) {
			from := 0
			if a.ranges != "" {
				if _, err := fmt.Sscanf(a.ranges, "bytes=%d-", &from); err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
				w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
				w.WriteHeader(http.StatusPartialContent)
				data = data[from:]
			}
			part(w, data)
		}},
		{"cut, and the range is ignored", 2, true, func(w http.ResponseWriter, data []byte, a asked) {
			if a.count == 1 {
				part(w, data)
			}
			_, _ = w.Write(data)
		}},
		{"cut, and another range comes", 2, false, func(w http.ResponseWriter, data []byte, a asked) {
			if a.count == 1 {
				part(w, data)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-%d/%d", len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[1:])
		}},
		{"cut, and the range is of another file", 2, false, func(w http.ResponseWriter, data []byte, a asked) {
			if a.count == 1 {
				part(w, data)
			}
			from := 0
			_, _ = fmt.Sscanf(a.ranges, "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data), len(data)+1))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[from:])
		}},
		{"cut, and the range cannot be had", 2, false, func(w http.ResponseWriter, data []byte, a asked) {
			if a.count == 1 {
				part(w, data)
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}},
		{"500", 3, false, func(w http.ResponseWriter, _ []byte, _ asked) { w.WriteHeader(http.StatusInternalServerError) }},
		{"429", 1, false, func(w http.ResponseWriter, _ []byte, _ asked) { w.WriteHeader(http.StatusTooManyRequests) }},
		{"an address whose time is over", 1, false, func(w http.ResponseWriter, _ []byte, _ asked) { w.WriteHeader(http.StatusForbidden) }},
		{"no answer at all", 2, false, func(http.ResponseWriter, []byte, asked) { panic(http.ErrAbortHandler) }},
		{"too long, and says so", 1, false, func(w http.ResponseWriter, data []byte, _ asked) {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)+4))
			_, _ = w.Write(append([]byte("more"), data...))
		}},
		{"too long, without saying so", 1, false, func(w http.ResponseWriter, data []byte, _ asked) {
			_ = http.NewResponseController(w).Flush() // so that it goes in chunks
			_, _ = w.Write(append(append([]byte(nil), data...), "more"...))
		}},
		{"too short, and says so", 1, false, func(w http.ResponseWriter, data []byte, _ asked) {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)-1))
			_, _ = w.Write(data[1:])
		}},
		{"cut, after bytes of another file", 1, false, func(w http.ResponseWriter, data []byte, _ asked) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data[1:])
		}},
		{"too short, without saying so", 1, false, func(w http.ResponseWriter, data []byte, _ asked) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data[:len(data)/2])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeHub(t)
			commit := f.commit("main", single(r))
			f.behaves(func(w http.ResponseWriter, r *http.Request, a asked) bool {
				if !a.cdn || a.count > c.times {
					return false
				}
				c.behave(w, f.content(strings.TrimPrefix(r.URL.Path, cdnPath)), a)
				return true
			})
			h := f.client()
			f.pull(h, testModel, commit, singleNeeded)
			if sizes := left(t, h.Cache); len(sizes) > 0 {
				t.Errorf("unfinished files of %d bytes are left", sizes)
			}
			got, want := 0, c.times+1
			if c.whole {
				want = c.times
			}
			for _, a := range f.requests() {
				if a.cdn {
					got = max(got, a.count)
				}
			}
			if got < want {
				t.Errorf("the content network was asked %d times for a file, and %d were expected", got, want)
			}
		})
	}
}

// TestStall has a connection go silent: it counts as cut.
func TestStall(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	weights := f.commits[commit]["model.safetensors"]
	f.behaves(func(w http.ResponseWriter, _ *http.Request, a asked) bool {
		if !a.cdn || a.count > 2 || !strings.HasSuffix(a.path, weights.etag()) {
			return false
		}
		if a.count == 1 { // the second says nothing at all
			w.Header().Set("Content-Length", strconv.Itoa(len(weights.data)))
			_, _ = w.Write(weights.data[:1000])
			_ = http.NewResponseController(w).Flush()
		}
		<-end
		return true
	})
	h := f.client()
	h.patience = time.Second
	var warnings []string
	h.Warn = func(message string) { warnings = append(warnings, message) }
	f.pull(h, testModel, commit, singleNeeded)
	if len(warnings) != 2 || !strings.Contains(warnings[0], "nothing came for too long (1s)") || strings.Contains(warnings[0], "signature") {
		t.Errorf("it warned %q", warnings)
	}
	for _, a := range f.requests() {
		if a.cdn && a.count > 1 && a.ranges != rangeFrom(1000) {
			t.Errorf("%+v, after 1000 bytes", a)
		}
	}
}

// TestGivesUp has a server fail again and again.
func TestGivesUp(t *testing.T) {
	f := newFakeHub(t)
	f.commit("main", single(random(t)))
	f.behaves(func(w http.ResponseWriter, _ *http.Request, _ asked) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	_, err := f.client().Pull(t.Context(), testModel)
	wantError(t, err, ErrUnreachable, "owner/some-model", "502 Bad Gateway")
	if n := len(f.requests()); n != tries {
		t.Errorf("it was asked %d times", n)
	}
}

// TestRetryAfter has a server say how long to wait.
func TestRetryAfter(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	f.behaves(func(w http.ResponseWriter, _ *http.Request, a asked) bool {
		if !strings.HasPrefix(a.path, "/api/") || a.count > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	start := time.Now()
	f.pull(f.client(), testModel, commit, singleNeeded)
	if took := time.Since(start); took < time.Second {
		t.Errorf("it waited %s, and was asked to wait a second", took)
	}

	f.behaves(func(w http.ResponseWriter, _ *http.Request, _ asked) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	f.requests()
	_, err := f.client().Pull(t.Context(), testModel)
	wantError(t, err, ErrUnreachable, "1h0m0s", "503")
	if n := len(f.requests()); n != 1 {
		t.Errorf("it was asked %d times", n)
	}

	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "17", 17 * time.Second},
		{"Retry-After", now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{"Retry-After", now.Add(-time.Hour).Format(http.TimeFormat), 0},
		{"Retry-After", "-3", 0},
		{"Retry-After", "soon", 0},
		{"RateLimit", `"api";r=0;t=55`, 55 * time.Second},
		{"Date", "17", 0},
	} {
		if got := retryAfter(http.Header{http.CanonicalHeaderKey(c.name): {c.value}}, now); got != c.want {
			t.Errorf("%s: %s is %s, and %s was expected", c.name, c.value, got, c.want)
		}
	}
}

// TestWrongContents has a file come whole and wrong: it is not kept.
func TestWrongContents(t *testing.T) {
	for _, name := range []string{"model.safetensors", "config.json"} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub(t)
			commit := f.commit("main", single(random(t)))
			file := f.commits[commit][name]
			f.behaves(func(w http.ResponseWriter, _ *http.Request, a asked) bool {
				if !strings.HasSuffix(a.path, file.etag()) && (file.lfs || !strings.HasSuffix(a.path, "/"+name)) {
					return false
				}
				wrong := append([]byte(nil), file.data...)
				wrong[len(wrong)/2] ^= 1
				_, _ = w.Write(wrong)
				return true
			})
			h := f.client()
			_, err := h.Pull(t.Context(), testModel)
			wantError(t, err, ErrChecksum, "owner/some-model: "+name, file.etag(), "deleted", file.etag()+".incomplete")
			for _, path := range []string{h.blobPath(testModel, file.etag()), h.blobPath(testModel, file.etag()) + ".incomplete", filepath.Join(h.snapshotDir(testModel, commit), name)} {
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Errorf("%s is there: %v", path, err)
				}
			}
			if h.commitOf(testModel) != "" {
				t.Error("the revision was noted")
			}
			f.behaves(nil)
			f.pull(h, testModel, commit, singleNeeded)
		})
	}
}

// TestDamagedPartial leaves bytes of something else, or too many, where a pull
// was cut.
func TestDamagedPartial(t *testing.T) {
	r := random(t)
	for _, c := range []struct {
		name string
		size func(whole int) int
	}{
		{"the beginning", func(whole int) int { return 1 + r.IntN(whole-1) }},
		{"all", func(whole int) int { return whole }},
		{"too much", func(whole int) int { return whole + 1 + r.IntN(1000) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeHub(t)
			commit := f.commit("main", single(r))
			file := f.commits[commit]["model.safetensors"]
			h := f.client()
			blob := h.blobPath(testModel, file.etag())
			if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(blob+".incomplete", noise(r, c.size(len(file.data))), 0o600); err != nil {
				t.Fatal(err)
			}
			var last Progress
			h.Progress = func(p Progress) { last = p }
			f.pull(h, testModel, commit, singleNeeded)
			if last.BytesDone != last.Bytes {
				t.Errorf("in the end the progress is %+v", last)
			}
		})
	}
}

// TestChangedEtag changes a file between a cut and the next pull: the parts are
// not put together. Then it changes one under the pull's hands.
func TestChangedEtag(t *testing.T) {
	f := newFakeHub(t)
	r := random(t)
	before := f.commit("main", single(r))
	f.behaves(func(w http.ResponseWriter, _ *http.Request, a asked) bool {
		if !a.cdn || a.count > 1 || !strings.HasSuffix(a.path, f.commits[before]["model.safetensors"].etag()) {
			return a.cdn && a.count > 1 && strings.HasSuffix(a.path, f.commits[before]["model.safetensors"].etag()) && hang(w)
		}
		data := f.commits[before]["model.safetensors"].data
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:100_000])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	h := f.client()
	if _, err := h.Pull(t.Context(), testModel); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("the pull ended with %v", err)
	}
	after := f.commit("main", single(r))
	f.behaves(nil)
	f.requests()
	f.pull(h, testModel, after, singleNeeded)
	for _, a := range f.requests() {
		if a.ranges != "" {
			t.Errorf("%+v: another file's bytes are there", a)
		}
	}

	last := f.commit("main", single(r))
	f.behaves(func(w http.ResponseWriter, r *http.Request, a asked) bool {
		if a.cdn || !strings.HasSuffix(a.path, "/model.safetensors") {
			return false
		}
		etag := f.commits[after]["model.safetensors"].etag()
		w.Header().Set(headerLinkedEtag, `"`+etag+`"`)
		http.Redirect(w, r, f.cdn.URL+cdnPath+etag, http.StatusFound)
		return true
	})
	_, err := h.Pull(t.Context(), testModel)
	wantError(t, err, ErrChecksum, f.commits[last]["model.safetensors"].etag(), f.commits[after]["model.safetensors"].etag(), "pull again")
}

// hang cuts the connection before an answer.
func hang(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
