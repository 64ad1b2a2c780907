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

// Connect reaches the server, or one of its cluster, within half a minute, in which
// a cluster can choose new leaders. warn is told of calls that are being tried again;
// nil ignores them.
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
	conn, err := nats.Connect(s.URL, options...)
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

// String writes the server's addresses without passwords.
func (s Server) String() string {
	all := strings.Split(s.URL, ",")
	for i, one := range all {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			all[i] = u.Redacted()
		}
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
