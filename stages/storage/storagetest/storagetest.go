// Package storagetest is a small object store for tests: it speaks as much of
// S3 as package storage asks for, and fails as often as it is told to.
package storagetest

import (
	"bufio"
	"bytes"
	"crypto/md5" //nolint:gosec // it is what the protocol compares
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is an object store with one bucket, which lives as long as a test.
type Server struct {
	// URL is its address, for AWS_ENDPOINT_URL.
	URL string
	// Bucket is its bucket's name.
	Bucket string
	// Unavailable and Cut are the shares of requests that end with 503, and of
	// answers and uploads that break off half-way.
	Unavailable, Cut float64
	// NoHead refuses to tell of objects, and NoWrite to take any.
	NoHead, NoWrite bool
	// Page is how many keys one part of a listing has.
	Page int

	mu      sync.Mutex
	rng     *rand.Rand
	objects map[string]object
	uploads map[string]map[int][]byte
	counts  map[string]int
}

type object struct {
	data     []byte
	tag      string
	modified time.Time
}

// New starts a store and points the environment of the test at it. Requests
// must be signed with the key that it puts there.
func New(t testing.TB, seed uint64) *Server {
	t.Helper()
	s := &Server{
		Bucket: "corpus", Page: 1000, rng: rand.New(rand.NewPCG(seed, 3)),
		objects: map[string]object{}, uploads: map[string]map[int][]byte{}, counts: map[string]int{},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	home := t.TempDir()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": s.URL, "AWS_ENDPOINT_URL_S3": "", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": home + "/config",
		"AWS_SHARED_CREDENTIALS_FILE": home + "/credentials",
	} {
		t.Setenv(name, value)
	}
	return s
}

// Path is the s3:// path of a key.
func (s *Server) Path(key string) string { return "s3://" + s.Bucket + "/" + key }

// Put makes an object.
func (s *Server) Put(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, data)
}

func (s *Server) put(key string, data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see above
	tag := hex.EncodeToString(sum[:])
	s.objects[key] = object{data, tag, time.Now().UTC()}
	return tag
}

// Remove takes an object away.
func (s *Server) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// Get returns an object, nil if there is none.
func (s *Server) Get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key].data
}

// Keys lists all keys in order.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys()
}

func (s *Server) keys() []string {
	keys := make([]string, 0, len(s.objects))
	for key := range s.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Count says how many requests of a kind there were: "GET", "503", "cut",
// "part", "list".
func (s *Server) Count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[kind]
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, bodyErr := readBody(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[r.Method]++
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case s.rng.Float64() < s.Unavailable:
		s.counts["503"]++
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	case !strings.Contains(r.Header.Get("Authorization"), "Credential=test/"):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case s.NoHead && r.Method == http.MethodHead, s.NoWrite && r.Method != http.MethodHead && r.Method != http.MethodGet:
		refuse(w, http.StatusForbidden, "AccessDenied")
	case bodyErr != nil:
		refuse(w, http.StatusBadRequest, "IncompleteBody")
	case bucket != s.Bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.Method == http.MethodHead:
	case key == "" && query.Get("list-type") == "2":
		s.list(w, query.Get("prefix"), query.Get("continuation-token"))
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.get(w, r, key)
	case r.Method == http.MethodPut || r.Method == http.MethodPost:
		s.write(w, r, key, body)
	case r.Method == http.MethodDelete:
		delete(s.uploads, query.Get("uploadId"))
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s, says the test's store</Message></Error>", code, code)
}

// readBody reads what is written, and takes it out of the signed chunks that
// unencrypted connections carry it in.
func readBody(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	var all []byte
	for in := bufio.NewReader(r.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			_, err = io.Copy(io.Discard, in)
			return all, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		all = append(all, chunk[:n]...)
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, key string) {
	o, ok := s.objects[key]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if match := r.Header.Get("If-Match"); match != "" && strings.Trim(match, `"`) != o.tag {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	data, status := o.data, http.StatusOK
	if from, to, ok := byteRange(r.Header.Get("Range"), len(data)); ok {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data)))
		data, status = data[from:to], http.StatusPartialContent
	}
	w.Header().Set("ETag", `"`+o.tag+`"`)
	w.Header().Set("Last-Modified", o.modified.Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if len(data) > 1 && s.rng.Float64() < s.Cut {
		s.counts["cut"]++
		_, _ = w.Write(data[:s.rng.IntN(len(data)-1)])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(data)
}

func byteRange(header string, size int) (from, to int, ok bool) {
	if n, err := fmt.Sscanf(header, "bytes=%d-%d", &from, &to); err != nil || n != 2 {
		return 0, 0, false
	}
	return from, min(to+1, size), from < size
}

// write takes an object, a part of one, and what begins and ends one in parts.
func (s *Server) write(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	query := r.URL.Query()
	upload, begin := query.Get("uploadId"), query.Has("uploads")
	if want := r.Header.Get("Content-Md5"); r.Method == http.MethodPut {
		sum := md5.Sum(body) //nolint:gosec // see above
		if want != base64.StdEncoding.EncodeToString(sum[:]) {
			refuse(w, http.StatusBadRequest, "BadDigest")
			return
		}
		if s.rng.Float64() < s.Cut {
			s.counts["cut"]++
			panic(http.ErrAbortHandler)
		}
	}
	parts, known := s.uploads[upload]
	switch {
	case begin:
		id := fmt.Sprintf("upload-%d", s.counts["POST"])
		s.uploads[id] = map[int][]byte{}
		_, _ = fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case upload == "":
		w.Header().Set("ETag", `"`+s.put(key, body)+`"`)
	case !known:
		refuse(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut:
		number, _ := strconv.Atoi(query.Get("partNumber"))
		s.counts["part"]++
		parts[number] = body
		w.Header().Set("ETag", fmt.Sprintf(`"part-%d"`, number))
	default:
		var order struct {
			Part []struct{ PartNumber int }
		}
		if err := xml.Unmarshal(body, &order); err != nil {
			refuse(w, http.StatusBadRequest, "MalformedXML")
			return
		}
		var whole bytes.Buffer
		for _, part := range order.Part {
			whole.Write(parts[part.PartNumber])
		}
		delete(s.uploads, upload)
		_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>k</Key><ETag>%s</ETag></CompleteMultipartUploadResult>",
			s.Bucket, s.put(key, whole.Bytes()))
	}
}

func (s *Server) list(w http.ResponseWriter, prefix, after string) {
	type entry struct {
		Key          string
		LastModified string
		ETag         string
		Size         int
	}
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []entry
	}{}
	s.counts["list"]++
	for _, key := range s.keys() {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if len(result.Contents) == s.Page {
			result.IsTruncated = true
			result.NextContinuationToken = result.Contents[s.Page-1].Key
			break
		}
		o := s.objects[key]
		result.Contents = append(result.Contents, entry{key, o.modified.Format(time.RFC3339), o.tag, len(o.data)})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(result)
}
