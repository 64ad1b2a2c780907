package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"headinfer/graph"
	"headinfer/stages"
)

// metrics serves the figures of a run to Prometheus. A nil *metrics does nothing.
type metrics struct {
	listener net.Listener
	server   *http.Server
	log      zerolog.Logger
	done     chan struct{}
}

// newMetrics listens on an address; "" is no metrics at all.
func newMetrics(address string, log zerolog.Logger) (*metrics, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, usage(fmt.Errorf("--metrics %s: %w; give an address that is free, such as :9090", address, err))
	}
	return &metrics{listener: listener, log: log}, nil
}

// serve answers with the figures of a run until stop.
func (m *metrics) serve(engine *stages.Engine, run *graph.Run) {
	if m == nil {
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&runCollector{engine, run}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
			m.log.Warn().Err(err).Msg("metrics are not served any more")
		}
	}()
	m.log.Info().Str("url", fmt.Sprintf("http://%s/metrics", m.listener.Addr())).Msg("serving metrics")
}

// stop ends serving, and further calls do nothing. The engine may be closed
// afterwards.
func (m *metrics) stop() {
	switch {
	case m == nil:
	case m.server == nil:
		_ = m.listener.Close()
	default:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if m.server.Shutdown(ctx) != nil {
			_ = m.server.Close()
		}
		<-m.done
	}
}

// runCollector reads the figures of a run when it is asked for them.
type runCollector struct {
	engine *stages.Engine
	run    *graph.Run
}

func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("headinfer_"+name, help, labels, nil)
}

// The figures of a run.
var (
	stageIn       = figure("stage_items_in_total", "Items that a stage has taken.", "stage")
	stageOut      = figure("stage_items_out_total", "Items that a stage has given on.", "stage")
	stageDead     = figure("stage_dead_letters_total", "Documents that a stage could not process.", "stage")
	stageBusy     = figure("stage_busy_seconds_total", "Time in a stage's own code.", "stage")
	stageQueue    = figure("stage_queue_items", "Items that wait for a stage.", "stage")
	stageCapacity = figure("stage_queue_capacity_items", "Items that may wait for a stage.", "stage")
	memoryNow     = figure("device_memory_bytes", "Device memory in use.", "purpose")
	memoryPeak    = figure("device_memory_peak_bytes", "Most device memory that was in use.")
	memoryBudget  = figure("device_memory_budget_bytes", "What device.memory allows.")
	copied        = figure("copied_bytes_total", "Keys and values copied to the device (in) and to the host (out).", "direction")
	tokens        = figure("tokens_total", "Tokens read, of prompts and of answers.", "kind")
	passSeconds   = figure("pass_seconds_total", "Time of passes.", "kind")
	answers       = figure("answers_total", "Answers written.")
	inFlight      = figure("texts_in_flight", "Texts whose keys and values are kept.")
)

// Describe is prometheus.Collector's.
func (c *runCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect is prometheus.Collector's.
func (c *runCollector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range c.run.Stats() {
		counter(stageIn, float64(s.In), s.Name)
		counter(stageOut, float64(s.Out), s.Name)
		counter(stageDead, float64(s.Dead), s.Name)
		counter(stageBusy, s.Busy.Seconds(), s.Name)
		gauge(stageQueue, float64(s.Queue), s.Name)
		gauge(stageCapacity, float64(s.Capacity), s.Name)
	}
	r := c.engine.Report()
	for purpose, bytes := range r.Memory.Now {
		gauge(memoryNow, float64(bytes), string(purpose))
	}
	gauge(memoryPeak, float64(r.Memory.Peak))
	if r.Memory.Budget > 0 {
		gauge(memoryBudget, float64(r.Memory.Budget))
	}
	counter(copied, float64(r.MovedIn), "in")
	counter(copied, float64(r.MovedOut), "out")
	counter(tokens, float64(r.PromptTokens), "prompt")
	counter(tokens, float64(r.DecodeSteps), "answer")
	counter(passSeconds, r.Prefill.Seconds(), "prefill")
	counter(passSeconds, r.Decode.Seconds(), "decode")
	counter(answers, float64(r.Answers))
	gauge(inFlight, float64(c.engine.InFlight()))
}
