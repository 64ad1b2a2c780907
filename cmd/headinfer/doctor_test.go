package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"headinfer/kernels/cuda"
	devicerate "headinfer/kernels/rate"
)

// healthy is what a good machine with a GPU would give.
func healthy() examination {
	return examination{
		Version: "headinfer test", GPUBuild: true, GPUs: 1,
		GPU: &cuda.Facts{
			Driver: "580.65.06", CUDA: "13.0", Name: "NVIDIA H100 80GB HBM3", Capability: "9.0", Multiprocessors: 132, CopyEngines: 3,
			PCI: "0000:1b:00.0", FreeBytes: 84e9, TotalBytes: 85e9, Image: "sm_90a", BLAS: "/opt/libcublasLt.so.13", BLASVersion: "13.0.2",
		},
		Link:    cuda.Link{Generation: 5, Width: 16, MaxGeneration: 5, MaxWidth: 16},
		PinRate: 4e9, PinBytes: 2 << 30,
		Host: hostFacts{
			Processor: "Some CPU", Threads: 16, Level: "avx512", TotalBytes: 128 << 30, AvailableBytes: 120 << 30, InstalledBytes: 128 << 30,
			LockLimit: "8388608", HugePages: "madvise", ReadRate: 87e9,
		},
		Device: "a GPU", Shape: devicerate.Shape{Rows: 4096},
		Rates: devicerate.Rates{CopyIn: 54.7e9, CopyOut: 54.5e9, BothIn: 50e9, BothOut: 49e9, Linear: 798e12, Attention: 340e12, Read: 2.9e12},
	}
}

func TestHealthyMachine(t *testing.T) {
	e := healthy()
	r := doctorReport{Findings: e.findings(), examination: e}
	var out strings.Builder
	if err := r.print(&out, false); err != nil {
		t.Fatal(err)
	}
	if err := r.failed(); err != nil || strings.Contains(out.String(), "warn") || strings.Contains(out.String(), "→") {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"with GPU support", "NVIDIA 580.65.06, CUDA 13.0", "compute capability 9.0, 132 multiprocessors, kernels sm_90a",
		"78.23 GiB free of 79.16 GiB", "generation 5 × 16 lanes, 63 GB/s each way", "4 GB/s of host memory (2 GiB)",
		"13.0.2, /opt/libcublasLt.so.13", "120 GiB available of 128 GiB", "87 GB/s by 16 threads", "limit 8 MiB", "madvise",
		"54.7 GB/s in, 54.5 GB/s out; both at once 50 GB/s and 49 GB/s", "798 TFLOP/s", "340 TFLOP/s", "2.9 TB/s", "4096 tokens",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	var decoded struct {
		Findings []finding
		GPU      struct {
			Name string `json:"name"`
		} `json:"gpu"`
		Rates map[string]float64 `json:"rates"`
	}
	out.Reset()
	if err := r.print(&out, true); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out.String()), &decoded); err != nil {
		t.Fatal(err)
	}
	if len(decoded.Findings) != len(r.Findings) || decoded.GPU.Name != e.GPU.Name || decoded.Rates["linear_flop_per_second"] != 798e12 {
		t.Errorf("%+v", decoded)
	}
}

// TestFindings has one thing wrong at a time.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(e *examination)
		subject string
		mark    mark
		says    string // in what was found or what to do
	}{
		"no GPU": {func(e *examination) { e.GPUs, e.GPU, e.NoGPU = 0, nil, "no NVIDIA driver" }, "driver", markWarn, "no NVIDIA driver; runs use the processor"},
		"no GPU build": {func(e *examination) {
			e.GPUs, e.GPU, e.NoGPU, e.GPUBuild = 0, nil, "not built", false
		}, "driver", markWarn, "make cuda"},
		"old driver":     {func(e *examination) { e.GPU.CUDA = "12.4" }, "driver", markWarn, "580 or newer"},
		"lost GPU":       {func(e *examination) { e.GPU, e.GPUError = nil, "it fell off the bus" }, "GPU", markFail, "fell off the bus"},
		"refused GPU":    {func(e *examination) { e.GPUError = "damaged image" }, "GPU", markFail, "damaged image"},
		"old GPU":        {func(e *examination) { e.GPU.ImageError, e.GPUError = "too old", "too old" }, "GPU", markFail, "a newer GPU"},
		"no cuBLASLt":    {func(e *examination) { e.GPU.BLASError, e.GPUError = "not found", "not found" }, "cuBLASLt", markFail, "HEADINFER_CUBLAS"},
		"full GPU":       {func(e *examination) { e.GPU.FreeBytes = 1 << 30 }, "GPU memory", markWarn, "nvidia-smi"},
		"narrow link":    {func(e *examination) { e.Link.Width, e.Rates.CopyIn, e.Rates.CopyOut = 8, 27e9, 27e9 }, "PCIe", markWarn, "generation 5 × 16"},
		"slow link":      {func(e *examination) { e.Link.Generation, e.Rates.CopyIn, e.Rates.CopyOut = 4, 25e9, 25e9 }, "PCIe", markWarn, "slot"},
		"slow copies":    {func(e *examination) { e.Rates.CopyOut = 20e9 }, "copies", markWarn, "the link carries 63 GB/s"},
		"slow pinning":   {func(e *examination) { e.PinRate = 3e8 }, "pinning", markWarn, "300 MB/s"},
		"little memory":  {func(e *examination) { e.Host.AvailableBytes = 1 << 30 }, "host memory", markWarn, "1 GiB available"},
		"slow processor": {func(e *examination) { e.Host.Level = "go" }, "processor", markWarn, "AVX2"},
		"failed rates":   {func(e *examination) { e.RatesError = "a kernel failed" }, "rates", markFail, "a kernel failed"},
	} {
		t.Run(name, func(t *testing.T) {
			e := healthy()
			c.spoil(&e)
			all := e.findings()
			bad := slices.DeleteFunc(slices.Clone(all), func(f finding) bool { return f.Mark == markOK })
			if len(bad) != 1 || bad[0].Subject != c.subject || bad[0].Mark != c.mark || bad[0].Do == "" ||
				!strings.Contains(bad[0].Found+"\n"+bad[0].Do, c.says) {
				t.Errorf("%+v", bad)
			}
			r := doctorReport{Findings: all}
			if err := r.failed(); (err != nil) != (c.mark == markFail) {
				t.Errorf("the end is %v", err)
			}
		})
	}
}

// TestPinningRefused concerns two lines.
func TestPinningRefused(t *testing.T) {
	e := healthy()
	e.PinRate, e.PinError = 0, "out of memory"
	marks := map[string]mark{}
	for _, f := range e.findings() {
		if f.Mark != markOK {
			marks[f.Subject] = f.Mark
		}
	}
	if len(marks) != 2 || marks["pinning"] != markFail || marks["locked memory"] != markWarn {
		t.Errorf("%v", marks)
	}
}

func TestUnknownMachine(t *testing.T) {
	e := healthy()
	e.GPU.Driver, e.Link = "", cuda.Link{}
	e.Host = hostFacts{Level: "avx2"}
	for _, f := range e.findings() {
		if f.Mark == markFail {
			t.Errorf("%+v", f)
		}
	}
}

func TestReadHost(t *testing.T) {
	h := readHost(fstest.MapFS{
		"proc/cpuinfo":     {Data: []byte("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n")},
		"proc/meminfo":     {Data: []byte("MemTotal:       24684084 kB\nMemFree: 1 kB\n")},
		"proc/self/limits": {Data: []byte("Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         8388608              unlimited            bytes     \n")},
		"sys/kernel/mm/transparent_hugepage/enabled": {Data: []byte("always [madvise] never\n")},
	})
	if h.Processor != "Some CPU @ 3 GHz" || h.InstalledBytes != 24684084<<10 || h.LockLimit != "8388608" || h.HugePages != "madvise" || h.Threads < 1 || h.Level == "" {
		t.Errorf("%+v", h)
	}
	if h := readHost(fstest.MapFS{}); h.Processor != "" || h.InstalledBytes != 0 || h.LockLimit != "" || h.HugePages != "" {
		t.Errorf("of nothing: %+v", h)
	}
}

func TestPerSecond(t *testing.T) {
	for rate, want := range map[float64]string{
		0: "0 B/s", 999: "999 B/s", 999.6: "1 kB/s", 54.66e9: "54.7 GB/s", 999.4e9: "999 GB/s", 2.9e12: "2.9 TB/s", 3e18: "3e+03 PB/s",
	} {
		if got := perSecond(rate, "B"); got != want {
			t.Errorf("%g is written %q, want %q", rate, got, want)
		}
	}
}
