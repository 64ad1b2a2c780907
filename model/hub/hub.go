package hub

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	parallel      = 4                // files on their way at a time
	tries         = 6                // without any progress, before giving up
	patience      = 30 * time.Second // without a byte, before a request counts as cut
	firstPause    = 500 * time.Millisecond
	longestPause  = 30 * time.Second
	longestAsked  = 5 * time.Minute // that a server may have us wait
	lockPause     = 100 * time.Millisecond
	maxRedirects  = 10
	worthProgress = 256 << 10 // bytes that make a try count as progress
)

// Hub pulls models. Its methods may be called at the same time.
type Hub struct {
	Settings
	// Progress, if set, is told how a pull goes: with each file that is found to
	// be needed or is done, and in between some ten times a second. It is called
	// by one goroutine at a time and must not block.
	Progress func(Progress)
	// Warn, if set, is told what went wrong and was made good, by any goroutine.
	Warn func(message string)

	endpoint *url.URL
	client   *http.Client
	// What tests change.
	firstPause, patience time.Duration
	now                  func() time.Time
	free                 func(dir string) (bytes int64, known bool)
	symlink              func(oldname, newname string) error
	hardlink             func(oldname, newname string) error
}

// New returns a hub. The error matches ErrName if the endpoint is no address.
func New(s Settings) (*Hub, error) {
	endpoint, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: the hub's address: %w", ErrName, err)
	}
	h := &Hub{
		Settings: s, endpoint: endpoint, firstPause: firstPause, patience: patience, now: time.Now,
		free: freeSpace, symlink: symlink, hardlink: hardlink,
	}
	// HTTP/1.1: large files each get a connection, and so a window, of their own.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	h.client = &http.Client{
		CheckRedirect: h.redirected,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: parallel,
			IdleConnTimeout:     time.Minute,
			Protocols:           protocols,
			DisableCompression:  true,
		},
	}
	return h, nil
}

func (h *Hub) warn(format string, args ...any) {
	if h.Warn != nil {
		h.Warn(fmt.Sprintf(format, args...))
	}
}

// address returns the hub's address of a path, each of whose elements may hold
// any characters.
func (h *Hub) address(elements ...string) string {
	var out strings.Builder
	out.WriteString(h.Endpoint)
	for _, e := range elements {
		out.WriteString("/" + url.PathEscape(e))
	}
	return out.String()
}

// fileAddress returns where a file's contents are, at a commit.
func (h *Hub) fileAddress(m Model, commit, name string) string {
	return h.address(append([]string{m.Owner, m.Name, "resolve", commit}, strings.Split(name, "/")...)...)
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
