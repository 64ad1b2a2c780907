package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// transient is a failure that may pass.
type transient struct {
	err   error
	after time.Duration // that the server asks to wait; 0 if it does not say
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

var (
	errStalled  = errors.New("nothing came for too long")
	errRedirect = errors.New("redirect refused")
)

// reply is an answer whose body fails with errStalled when it stops coming.
type reply struct {
	*http.Response
	end func()
}

// request asks once, for the bytes of the body from an offset. An answer of 400
// or more is an error, except 416. What may pass is a *transient.
func (h *Hub) request(ctx context.Context, method, address string, from int64, m Model, file string) (*reply, error) {
	asking, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(h.patience, func() { cancel(errStalled) })
	end := func() {
		timer.Stop()
		cancel(nil)
	}
	req, err := http.NewRequestWithContext(asking, method, address, http.NoBody)
	if err != nil {
		end()
		return nil, fmt.Errorf("%s: %w", what(m, file), err)
	}
	req.Header.Set("User-Agent", "headinfer")
	req.Header.Set("Accept-Encoding", "identity")
	if h.Token != "" {
		req.Header.Set("Authorization", "Bearer "+h.Token)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		err = h.cut(ctx, asking, err, m, file)
		end()
		return nil, err
	}
	if resp.StatusCode >= 400 && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		err := h.refusal(resp, m, file)
		_ = resp.Body.Close()
		end()
		return nil, err
	}
	resp.Body = &watched{resp.Body, func(err error) error {
		timer.Reset(h.patience)
		if err == nil || errors.Is(err, io.EOF) {
			return err
		}
		return h.cut(ctx, asking, err, m, file)
	}}
	return &reply{resp, end}, nil
}

// close lets the connection go. What is left of the body is not wanted.
func (r *reply) close() {
	r.end()
	_ = r.Body.Close()
}

// watched is a body that reports every read.
type watched struct {
	io.ReadCloser
	read func(error) error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	return n, w.read(err)
}

// cut says why a request ended early: because the caller wants no more, because
// it never can work, or for a reason that may pass.
func (h *Hub) cut(caller, asking context.Context, err error, m Model, file string) error {
	if caller.Err() != nil {
		return context.Cause(caller)
	}
	if errors.Is(context.Cause(asking), errStalled) {
		err = fmt.Errorf("%w (%s)", errStalled, h.patience)
	}
	host := h.endpoint.Host
	// The address of a content network carries a signature, which is nobody
	// else's to read.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
		if at, parseErr := url.Parse(u.URL); parseErr == nil && at.Host != "" {
			host = at.Host
		}
	}
	err = fmt.Errorf("%s: %w: %s: %w", what(m, file), ErrUnreachable, host, err)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok || errors.Is(err, errRedirect) {
		return err
	}
	return &transient{err, 0}
}

// redirected keeps the token from other hosts, and a request from leaving TLS.
// A HEAD request stops before another host: what is asked for is the hub's.
func (h *Hub) redirected(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: there were %d before it", errRedirect, maxRedirects)
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: from %s to %s", errRedirect, via[0].URL.Scheme, req.URL.Scheme)
	}
	if sameOrigin(req.URL, h.endpoint) {
		return nil
	}
	if req.Method == http.MethodHead {
		return http.ErrUseLastResponse
	}
	// The library itself lets it through to other ports and to subdomains.
	req.Header.Del("Authorization")
	req.Header.Del("Referer")
	return nil
}

// retry calls try until it succeeds, fails for good, or has failed most times
// in a row without progress. try returns the bytes that it got.
func (h *Hub) retry(ctx context.Context, most int, try func() (got int64, err error)) error {
	for failed := 0; ; {
		got, err := try()
		t, passing := errors.AsType[*transient](err)
		if !passing {
			return err
		}
		if got >= worthProgress {
			failed = 0
		}
		failed++
		if failed >= most {
			return t.err
		}
		pause := h.pause(failed)
		if t.after > longestAsked {
			return fmt.Errorf("%w; it asks to wait %s; try again then", t.err, t.after.Round(time.Second))
		}
		pause = max(pause, t.after)
		h.warn("%v; trying again in %s", t.err, pause.Round(10*time.Millisecond))
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// pause doubles with every failure, and varies by a quarter so that those who
// failed together do not come back together.
func (h *Hub) pause(failed int) time.Duration {
	d := min(h.firstPause<<(failed-1), longestPause)
	return d*3/4 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// untilReset is where a RateLimit header says in how many seconds its window ends.
var untilReset = regexp.MustCompile(`;\s*t\s*=\s*(\d{1,9})`)

// retryAfter returns how long a server asks to wait: by Retry-After, in seconds
// or as a date, or by RateLimit, which the hub sends. It is 0 if neither says.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if match := untilReset.FindStringSubmatch(header.Get("RateLimit")); text == "" && match != nil {
		text = match[1]
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
