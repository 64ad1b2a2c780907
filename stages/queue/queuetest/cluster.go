// Package queuetest runs NATS servers for tests, each in a process of its own, so
// that one can be killed as a power cut would end it. The processes are the test
// binary itself: its TestMain, or an init function, calls [Serve] first.
package queuetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// variable holds a child's node as JSON.
const variable = "HEADINFER_TEST_NATS"

// ready is how long a cluster may take to choose its leaders.
const ready = 40 * time.Second

// node is a server's place in a cluster.
type node struct {
	Name    string
	Port    int
	Cluster int // its port for the others; 0 for one alone
	Routes  []int
	Dir     string
}

// Serve makes the process a server if it was started as one, and then never
// returns. The server ends when its parent does.
func Serve() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		fmt.Fprintln(os.Stderr, "queuetest:", err)
		os.Exit(2)
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, NoSigs: true,
		JetStream: true, StoreDir: n.Dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
		LogFile: filepath.Join(n.Dir, "server.log"), DisableJetStreamBanner: true,
	}
	if n.Cluster > 0 {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Cluster}
		for _, port := range n.Routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "queuetest:", err)
		os.Exit(2)
	}
	s.ConfigureLogger()
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
	os.Exit(0)
}

// Cluster is some servers, or one.
type Cluster struct {
	t         testing.TB
	nodes     []node
	processes []*exec.Cmd
}

// Start starts servers on free ports and waits until they serve JetStream. They
// end with the test.
func Start(t testing.TB, servers int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, processes: make([]*exec.Cmd, servers)}
	dir := t.TempDir()
	ports := freePorts(t, 2*servers)
	for i := range servers {
		n := node{Name: fmt.Sprintf("n%d", i), Port: ports[2*i], Dir: filepath.Join(dir, fmt.Sprintf("n%d", i))}
		if err := os.MkdirAll(n.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if servers > 1 {
			n.Cluster = ports[2*i+1]
			for j := range servers {
				if j != i {
					n.Routes = append(n.Routes, ports[2*j+1])
				}
			}
		}
		c.nodes = append(c.nodes, n)
	}
	t.Cleanup(func() {
		for i := range c.processes {
			c.Kill(i)
		}
	})
	for i := range c.nodes {
		c.Launch(i)
	}
	c.wait(servers)
	return c
}

// freePorts returns ports that nobody listens on.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Launch starts a server, again if it was killed.
func (c *Cluster) Launch(i int) {
	c.t.Helper()
	text, err := json.Marshal(c.nodes[i])
	if err != nil {
		c.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	p := exec.Command(self)
	p.Env = append(os.Environ(), variable+"="+string(text))
	p.Stderr = os.Stderr
	if _, err := p.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.processes[i] = p
}

// Kill ends a server as a power cut would, but for what the system has in memory.
func (c *Cluster) Kill(i int) {
	p := c.processes[i]
	if p == nil {
		return
	}
	c.processes[i] = nil
	_ = p.Process.Kill()
	_ = p.Wait()
}

// URL lists the addresses of all servers.
func (c *Cluster) URL() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", n.Port))
	}
	return strings.Join(all, ",")
}

// wait waits until a stream with so many replicas can be made.
func (c *Cluster) wait(replicas int) {
	c.t.Helper()
	deadline := time.Now().Add(ready)
	for {
		err := c.try(replicas)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.nodes[0].Dir, "server.log"))
			c.t.Fatalf("the servers are not ready after %v: %v\n%s", ready, err, log)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *Cluster) try(replicas int) error {
	conn, err := nats.Connect(c.URL(), nats.Timeout(time.Second))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "ready", Subjects: []string{"ready"}, Replicas: replicas}); err != nil {
		return err
	}
	if _, err := js.Publish(ctx, "ready", nil); err != nil {
		return err
	}
	return js.DeleteStream(ctx, "ready")
}
