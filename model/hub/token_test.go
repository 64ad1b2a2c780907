package hub

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestToken checks who gets the token. The library itself would give it to the
// content network here, which differs by its port only.
func TestToken(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	f.behaves(func(w http.ResponseWriter, r *http.Request, a asked) bool {
		// a redirect at home, as for a model that was renamed
		if a.cdn || !strings.HasPrefix(a.path, "/api/") || r.URL.Query().Has("moved") {
			return false
		}
		http.Redirect(w, r, a.path+"?moved=1", http.StatusTemporaryRedirect)
		return true
	})
	f.pull(f.client(), testModel, commit, singleNeeded)
	home, away := 0, 0
	for _, a := range f.requests() {
		want := "Bearer " + testToken
		if a.cdn {
			want = ""
			away++
		} else {
			home++
		}
		if a.auth != want {
			t.Errorf("%+v has the authorization %q", a, a.auth)
		}
	}
	if home == 0 || away == 0 {
		t.Errorf("%d requests at home, %d away", home, away)
	}

	h := f.client()
	h.Token = ""
	f.pull(h, testModel, commit, singleNeeded)
	for _, a := range f.requests() {
		if a.auth != "" {
			t.Errorf("without a token: %+v", a)
		}
	}
}

// TestRedirects refuses redirects that lead nowhere, or out of TLS.
func TestRedirects(t *testing.T) {
	f := newFakeHub(t)
	f.commit("main", single(random(t)))
	f.behaves(func(w http.ResponseWriter, r *http.Request, a asked) bool {
		http.Redirect(w, r, a.path+"?x", http.StatusFound)
		return true
	})
	_, err := f.client().Pull(t.Context(), testModel)
	wantError(t, err, ErrUnreachable, "redirect refused")
	if n := len(f.requests()); n != maxRedirects {
		t.Errorf("%d requests", n)
	}

	h, err := New(Settings{Endpoint: "https://hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to    string
		token bool
		ok    bool
	}{
		{"https://hub.example/other", true, true},
		{"https://hub.example:443/other", true, true},
		{"https://HUB.example/other", true, true},
		{"https://cdn.hub.example/other", false, true},
		{"https://hub.example:444/other", false, true},
		{"https://hub.example.evil/other", false, true},
		{"http://hub.example/other", false, false},
		{"file:///etc/passwd", false, false},
	} {
		via := httptest.NewRequest(http.MethodGet, "https://hub.example/file", nil)
		req := httptest.NewRequest(http.MethodGet, c.to, nil)
		req.Header.Set("Authorization", "Bearer x")
		err := h.redirected(req, []*http.Request{via})
		if (err == nil) != c.ok || c.ok && (req.Header.Get("Authorization") != "") != c.token {
			t.Errorf("to %s: %v, with the token: %t", c.to, err, req.Header.Get("Authorization") != "")
		}
	}
}

// TestCertificate does not ask again, and again, a server that cannot be trusted.
func TestCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	h, err := New(Settings{Endpoint: server.URL, Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	h.Warn = func(message string) { t.Errorf("it warned %q", message) }
	_, err = h.Pull(t.Context(), testModel)
	wantError(t, err, ErrUnreachable, "certificate", strings.TrimPrefix(server.URL, "https://"))
}
