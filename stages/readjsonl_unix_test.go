//go:build unix

package stages

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"headinfer/config"
)

// TestReadJSONLLeavesAQuietPipe cancels a source that waits for a writer.
func TestReadJSONLLeavesAQuietPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0) // so that opening to read does not wait
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	options := new(readJSONLOptions)
	if err := config.Defaults(options); err != nil {
		t.Fatal(err)
	}
	options.Path = []string{path}
	source, err := newReadJSONL(nil, options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.WriteString(`{"text":"one"}` + "\n"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- source.Produce(ctx, func(d *Document) error { read <- d.Text; return nil })
	}()
	if text := <-read; text != "one" {
		t.Errorf("read %q", text)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the source still waits for the pipe")
	}
}
