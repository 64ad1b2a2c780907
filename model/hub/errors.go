package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"
)

// What a caller may test an error for.
var (
	// ErrName is a model's name, a file's or a setting that cannot be right.
	ErrName = errors.New("wrong name")
	// ErrNotFound is a model, a revision or a file that the hub does not have.
	ErrNotFound = errors.New("not found")
	// ErrDenied is a model that the token, or who has none, may not read.
	ErrDenied = errors.New("access denied")
	// ErrChecksum is a file whose contents are not what the hub says they are.
	ErrChecksum = errors.New("wrong checksum")
	// ErrNoSpace is a disk without room for the model.
	ErrNoSpace = errors.New("no space left")
	// ErrUnreachable is a hub that does not answer, or only with failures that
	// may pass.
	ErrUnreachable = errors.New("the hub cannot be reached")
	// ErrOffline is a model that is not in the cache while nothing may be asked.
	ErrOffline = errors.New("not in the cache")
)

// headers by which a hub says more than the status does.
const (
	headerErrorCode    = "X-Error-Code"
	headerErrorMessage = "X-Error-Message"
	maxMessage         = 300 // bytes of a server's own words in an error
)

// refusal says what an answer of 400 or more means. file is "" when the model
// itself was asked for.
func (h *Hub) refusal(r *http.Response, m Model, file string) error {
	// The answer has been judged by its head; the connection may be used again
	// if the rest is short.
	_, _ = io.CopyN(io.Discard, r.Body, 4<<10)
	code := r.Header.Get(headerErrorCode)
	if !sameOrigin(r.Request.URL, h.endpoint) {
		// A content network says nothing of the model. 403 is an address whose
		// time is over; the next try gets a new one.
		if retryable(r.StatusCode) || r.StatusCode == http.StatusForbidden {
			return h.passing(r, m, file)
		}
		return fmt.Errorf("%s: %s answers %s%s", what(m, file), r.Request.URL.Host, r.Status, words(r))
	}
	page := h.Endpoint + "/" + m.repo()
	switch {
	case code == "GatedRepo":
		return fmt.Errorf("%s: %w (%d): the model is gated; accept its licence on %s, and set HF_TOKEN to a token of that account%s", m, ErrDenied, r.StatusCode, page, words(r))
	case code == "RevisionNotFound":
		return fmt.Errorf("%s: revision %q %w; see %s/tree/main for the model's branches and tags", m.repo(), m.Revision, ErrNotFound, page)
	case code == "EntryNotFound", r.StatusCode == http.StatusNotFound && file != "":
		return fmt.Errorf("%s: file %q %w in revision %q", m.repo(), file, ErrNotFound, m.Revision)
	case code == "RepoNotFound", r.StatusCode == http.StatusNotFound:
		return fmt.Errorf("model %s %w at %s (%d); check owner and name, and if it is private, set HF_TOKEN to a token that may read it", m.repo(), ErrNotFound, h.Endpoint, r.StatusCode)
	case r.StatusCode == http.StatusUnauthorized && h.Token == "":
		return fmt.Errorf("%s: %w (401): there is no such model, or it is private or gated; check the name, accept its licence on %s, and set HF_TOKEN%s", m, ErrDenied, page, words(r))
	case r.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s: %w (401): the token is not valid, or there is no such model; set HF_TOKEN to a valid token, and accept the licence on %s if the model is gated%s", m, ErrDenied, page, words(r))
	case r.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: %w (403): set HF_TOKEN to a token that may read this model, and accept its licence on %s%s", m, ErrDenied, page, words(r))
	case retryable(r.StatusCode):
		return h.passing(r, m, file)
	}
	return fmt.Errorf("%s: %s answers %s%s", what(m, file), h.Endpoint, r.Status, words(r))
}

// passing is a failure that the server says may pass.
func (h *Hub) passing(r *http.Response, m Model, file string) error {
	err := fmt.Errorf("%s: %w: %s answers %s%s", what(m, file), ErrUnreachable, r.Request.URL.Host, r.Status, words(r))
	return &transient{err, retryAfter(r.Header, h.now())}
}

// retryable reports whether a status is a failure that may pass.
func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500 && status != http.StatusNotImplemented
}

func what(m Model, file string) string {
	if file == "" {
		return m.String()
	}
	return Model{Owner: m.Owner, Name: m.Name, Revision: m.Revision}.String() + ": " + file
}

// words are the server's own, made fit for one line of a terminal.
func words(r *http.Response) string {
	message := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, r.Header.Get(headerErrorMessage))
	if message == "" {
		return ""
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return fmt.Sprintf(" (it says: %s)", message)
}
