package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"gopkg.in/ini.v1"
)

// transport is shared, so that connections outlive a client.
var transport = sync.OnceValues(func() (*http.Transport, error) { return minio.DefaultTransport(true) })

// settings say where the store is.
type settings struct {
	endpoint string // a URL; "" for AWS
	region   string // "" where it is asked for
}

// newClient returns a client for the store that the environment names. It
// asks nothing of the network.
func newClient() (*minio.Client, error) {
	s, err := readSettings()
	if err != nil {
		return nil, err
	}
	host, secure, lookup := "s3.amazonaws.com", true, minio.BucketLookupAuto
	if s.endpoint != "" {
		at, err := url.Parse(s.endpoint)
		if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || strings.Trim(at.Path, "/") != "" {
			return nil, fmt.Errorf("the object store's address is %q; expected http://HOST:PORT or https://HOST in AWS_ENDPOINT_URL", s.endpoint)
		}
		// Other stores than AWS have no host name a bucket.
		host, secure, lookup = at.Host, at.Scheme == "https", minio.BucketLookupPath
		if s.region == "" {
			s.region = "us-east-1"
		}
	}
	shared, err := transport()
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	return minio.New(host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{},
		}),
		Secure: secure, Region: s.region, BucketLookup: lookup, Transport: shared,
	})
}

// readSettings looks at the environment first, and then at the profile in
// ~/.aws/config.
func readSettings() (settings, error) {
	s := settings{
		endpoint: first(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")),
		region:   first(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	}
	name := os.Getenv("AWS_CONFIG_FILE")
	if name == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return s, nil //nolint:nilerr // without a home there is no such file
		}
		name = filepath.Join(home, ".aws", "config")
	}
	file, err := ini.Load(name)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("object store: %s: %w", name, err)
	}
	section := "default"
	if profile := os.Getenv("AWS_PROFILE"); profile != "" && profile != section {
		section = "profile " + profile
	}
	profile := file.Section(section)
	s.endpoint = first(s.endpoint, profile.Key("endpoint_url").String())
	s.region = first(s.region, profile.Key("region").String())
	return s, nil
}

func first(words ...string) string {
	for _, word := range words {
		if word != "" {
			return word
		}
	}
	return ""
}

// listAttempts is how often a listing that breaks off is begun again.
const listAttempts = 5

// expandObjects lists the objects that an s3:// path or pattern names.
func expandObjects(ctx context.Context, pattern string, which Which) ([]File, error) {
	if err := CheckObject(pattern, true); err != nil {
		return nil, err
	}
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	bucket, key := splitObject(pattern)
	want := func(name string) bool { return Match(key, name) }
	prefix := fixed(key)
	if !IsPattern(key) {
		if key != "" && !strings.HasSuffix(key, "/") {
			info, err := client.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
			if err == nil {
				return []File{{pattern, info.Size, info.LastModified}}, nil
			}
			if which.Directories == nil || minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
				return nil, fmt.Errorf("open %s: %w", pattern, err)
			}
			key += "/"
		}
		if which.Directories == nil {
			return nil, fmt.Errorf("%s is a directory of a store; name one object of it", pattern)
		}
		prefix = key
		want = func(name string) bool { return which.Directories(name[strings.LastIndex(name, "/")+1:]) }
	}
	found, err := list(ctx, client, bucket, prefix, want)
	if err != nil {
		err = fmt.Errorf("list %s: %w", pattern, err)
	}
	return found, err
}

// listObjects lists the objects below a path that are wanted.
func listObjects(ctx context.Context, below string, want func(path string) bool) ([]File, error) {
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	bucket, prefix := splitObject(below)
	found, err := list(ctx, client, bucket, prefix, func(key string) bool { return want(scheme + bucket + "/" + key) })
	if err != nil {
		err = fmt.Errorf("list %s: %w", below, err)
	}
	return found, err
}

// list lists the objects below a prefix that are wanted. What breaks off is begun
// again.
func list(ctx context.Context, client *minio.Client, bucket, prefix string, want func(key string) bool) ([]File, error) {
	for attempt := 1; ; attempt++ {
		found, err := listOnce(ctx, client, bucket, prefix, want)
		var refusal minio.ErrorResponse
		if err == nil || attempt == listAttempts || errors.As(err, &refusal) || ctx.Err() != nil {
			return found, err
		}
	}
}

func listOnce(ctx context.Context, client *minio.Client, bucket, prefix string, want func(key string) bool) ([]File, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // which ends the listing
	var found []File
	for o := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		if want(o.Key) && !strings.HasSuffix(o.Key, "/") {
			found = append(found, File{scheme + bucket + "/" + o.Key, o.Size, o.LastModified})
		}
	}
	return found, nil
}
