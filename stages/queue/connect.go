package queue

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server says how to reach a NATS server.
type Server struct {
	URL         string // one or more, with commas between; a user and password may be part of it
	Credentials string // path of a .creds file; "" for none
	CA          string // path of certificates to trust, PEM; "" for the system's
}

// Queue is a connection to a server with JetStream.
type Queue struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	server Server
	warn   func(what string, err error)
}

// Connect reaches the server, or one of its cluster: one that does not listen is an
// error at once, and one whose JetStream does not answer is waited for, half a minute,
// in which a cluster can choose new leaders. warn is told of calls that are being
// tried again; nil ignores them.
func Connect(ctx context.Context, s Server, warn func(what string, err error)) (*Queue, error) {
	if warn == nil {
		warn = func(string, error) {}
	}
	options := []nats.Option{
		nats.Name("headinfer on " + hostname()),
		nats.Timeout(5 * time.Second),
		// A server that is gone for an hour is a server to wait for.
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(200*time.Millisecond, time.Second),
		// A machine without power closes no connection.
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
	}
	if s.Credentials != "" {
		options = append(options, nats.UserCredentials(s.Credentials))
	}
	if s.CA != "" {
		options = append(options, nats.RootCAs(s.CA))
	}
	conn, err := dial(ctx, s, options)
	if err != nil {
		return nil, fmt.Errorf("NATS server %s: %w", s, err)
	}
	q := &Queue{conn: conn, server: s, warn: warn}
	if q.js, err = jetstream.New(conn, jetstream.WithDefaultTimeout(attempt)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("NATS server %s: %w", s, err)
	}
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	err = q.retry(ctx, "asking for JetStream", func(ctx context.Context) error {
		_, err := q.js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		conn.Close()
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			err = fmt.Errorf("%w; start it with --jetstream, or with jetstream { store_dir: … } in its configuration", err)
		}
		return nil, fmt.Errorf("NATS server %s: %w", s, err)
	}
	return q, nil
}

// dial is nats.Connect until ctx ends.
func dial(ctx context.Context, s Server, options []nats.Option) (*nats.Conn, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	type dialed struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		conn, err := nats.Connect(s.URL, options...)
		done <- dialed{conn, err}
	}()
	select {
	case d := <-done:
		return d.conn, d.err
	case <-ctx.Done():
		go func() {
			if d := <-done; d.conn != nil {
				d.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// replicas is how many copies there are best: three in a cluster that has so many
// servers.
func (q *Queue) replicas() int {
	if q.conn.ConnectedClusterName() != "" && len(q.conn.Servers()) >= 3 {
		return 3
	}
	return 1
}

// Close sends what is still to be sent and ends the connection.
func (q *Queue) Close() error {
	err := q.conn.FlushTimeout(2 * time.Second)
	q.conn.Close()
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrTimeout) {
		err = nil // nobody is there to be told
	}
	return err
}

// check refuses addresses that would be taken for others than they are meant
// for. What cannot be read is not repeated: it may hold a password.
func (s Server) check() error {
	for i, one := range strings.Split(s.URL, ",") {
		if one = strings.TrimSpace(one); !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err == nil && !strings.Contains(one, "@") {
			continue
		}
		if err != nil || u.User == nil || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
			return fmt.Errorf("address %d cannot be read; expected nats://HOST:PORT or nats://USER:PASSWORD@HOST:PORT, with %%XX for what is no letter or digit in a user or password", i+1)
		}
	}
	return nil
}

// String writes the server's addresses without users, passwords and tokens,
// whether or not they can be read.
func (s Server) String() string {
	all := strings.Split(s.URL, ",")
	for i, one := range all {
		one = strings.TrimSpace(one)
		if at := strings.LastIndex(one, "@"); at >= 0 {
			scheme, _, there := strings.Cut(one[:at], "://")
			if one = "***" + one[at:]; there {
				one = scheme + "://" + one
			}
		}
		all[i] = one
	}
	return strings.Join(all, ",")
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown host"
	}
	return name
}
