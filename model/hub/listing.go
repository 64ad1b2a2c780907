package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

const (
	maxListing = 64 << 20 // bytes of the answer about a revision
	maxETag    = 128

	// What the hub says of a file whose contents are elsewhere.
	headerLinkedEtag = "X-Linked-Etag"
	headerLinkedSize = "X-Linked-Size"
)

// remote is a file as the hub lists it.
type remote struct {
	name string // slash-separated, in the repository
	size int64  // bytes; -1 if the listing does not say
	etag string // "" if the listing does not say
}

// listing is a revision: its commit, and the files in it by name.
type listing struct {
	commit string
	files  map[string]remote
}

// revision is the part of the API's answer that is used.
type revision struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name   string `json:"rfilename"`
		Size   *int64 `json:"size"`
		BlobID string `json:"blobId"`
		LFS    *struct {
			SHA256 string `json:"sha256"`
			Size   int64  `json:"size"`
		} `json:"lfs"`
	} `json:"siblings"`
}

// list asks for a model's revision.
func (h *Hub) list(ctx context.Context, m Model, most int) (*listing, error) {
	var body []byte
	address := h.address("api", "models", m.Owner, m.Name, "revision", m.Revision) + "?blobs=true"
	err := h.retry(ctx, most, func() (int64, error) {
		r, err := h.request(ctx, http.MethodGet, address, 0, m, "")
		if err != nil {
			return 0, err
		}
		defer r.close()
		body, err = io.ReadAll(io.LimitReader(r.Body, maxListing+1))
		return 0, err
	})
	if err != nil {
		return nil, err
	}
	if len(body) > maxListing {
		return nil, fmt.Errorf("%s: the hub's list of files is longer than %d bytes; is %s a hub?", m, maxListing, h.Endpoint)
	}
	var answer revision
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: the hub's list of files: %w; is %s a hub?", m, err, h.Endpoint)
	}
	return answer.listing(m)
}

// listing checks what the hub says, which becomes the names of files here.
func (a *revision) listing(m Model) (*listing, error) {
	if !isCommit(a.SHA) {
		return nil, fmt.Errorf("%s: the hub gives the commit %q; expected 40 hexadecimal digits", m, a.SHA)
	}
	if isCommit(m.Revision) && a.SHA != m.Revision {
		return nil, fmt.Errorf("%s: the hub gives the commit %s", m, a.SHA)
	}
	l := &listing{commit: a.SHA, files: map[string]remote{}}
	for _, s := range a.Siblings {
		if !fs.ValidPath(s.Name) || s.Name == "." {
			return nil, fmt.Errorf("%s: the hub lists a file %q, which is outside of the repository; nothing of it is fetched", m, s.Name)
		}
		f := remote{name: s.Name, size: -1, etag: s.BlobID}
		if s.Size != nil {
			f.size = *s.Size
		}
		if s.LFS != nil {
			f.etag, f.size = s.LFS.SHA256, s.LFS.Size
		}
		l.files[s.Name] = f
	}
	return l, nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// describe asks for the size and the etag of a file if the listing lacks them,
// as those of some mirrors do.
func (h *Hub) describe(ctx context.Context, m Model, commit string, f remote) (remote, error) {
	if f.etag == "" || f.size < 0 {
		err := h.retry(ctx, tries, func() (int64, error) {
			r, err := h.request(ctx, http.MethodHead, h.fileAddress(m, commit, f.name), 0, m, f.name)
			if err != nil {
				return 0, err
			}
			defer r.close()
			f.etag, f.size = etagOf(r.Response), sizeOf(r.Response)
			return 0, nil
		})
		if err != nil {
			return f, err
		}
	}
	if f.size < 0 {
		return f, fmt.Errorf("%s: the hub does not say how long it is", what(m, f.name))
	}
	if len(f.etag) > maxETag || !plainName.MatchString(f.etag) {
		return f, fmt.Errorf("%s: the hub gives the etag %.200q; expected a SHA-256 or SHA-1 in hexadecimal digits", what(m, f.name), f.etag)
	}
	return f, nil
}

// etagOf returns what the hub itself calls a file's contents, wherever the
// contents are; "" if it does not say.
func etagOf(r *http.Response) string {
	etag := r.Header.Get(headerLinkedEtag)
	if etag == "" {
		etag = r.Header.Get("Etag")
	}
	return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
}

func sizeOf(r *http.Response) int64 {
	if size, err := strconv.ParseInt(r.Header.Get(headerLinkedSize), 10, 64); err == nil && size >= 0 {
		return size
	}
	if r.StatusCode != http.StatusOK {
		return -1
	}
	return r.ContentLength
}
