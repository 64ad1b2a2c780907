package main

import (
	"fmt"
	"strconv"
	"strings"

	"headinfer/kernels"
)

// What a figure has to be for a line to say ok.
const (
	// leastOfLink is the part of the link that copies reach at least; 85% and
	// more is usual.
	leastOfLink = 0.6
	// leastPinned is in bytes a second. 4 GB/s is usual.
	leastPinned = 1e9
	// leastHost is host memory that leaves room for a cache, in bytes.
	leastHost = 2 << 30
	// oldestCUDA is the major version that the kernels are compiled with.
	oldestCUDA = 13
)

// findings judges an examination.
func (e *examination) findings() []finding {
	all := []finding{e.build(), e.driver()}
	if e.GPUs > 0 {
		all = append(all, e.gpu()...)
	}
	all = append(all, e.processor(), e.memory(), e.reads())
	if e.Host.LockLimit != "" {
		all = append(all, e.locked())
	}
	if e.Host.HugePages != "" {
		all = append(all, fine("huge pages", "%s", e.Host.HugePages))
	}
	return append(all, e.rates()...)
}

func (e *examination) build() finding {
	with := "without"
	if e.GPUBuild {
		with = "with"
	}
	return fine("build", "%s, %s GPU support", e.Version, with)
}

func (e *examination) driver() finding {
	if e.GPUs == 0 {
		return fine("driver", "%s; runs use the processor", e.NoGPU).
			needs(markWarn, "nothing, unless the machine has an NVIDIA GPU: then "+e.remedy())
	}
	if e.GPU == nil {
		return fine("driver", "%d GPUs", e.GPUs)
	}
	version := e.GPU.Driver
	if version == "" {
		version = "of unknown version"
	}
	f := fine("driver", "NVIDIA %s, CUDA %s", version, e.GPU.CUDA)
	major, _, _ := strings.Cut(e.GPU.CUDA, ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldestCUDA {
		return f.needs(markWarn, fmt.Sprintf("the kernels are compiled for CUDA %d: update the driver to 580 or newer", oldestCUDA))
	}
	return f
}

// remedy says how a GPU that is there comes to be used.
func (e *examination) remedy() string {
	if !e.GPUBuild {
		return "build with `make cuda`"
	}
	return "install its driver, 580 or newer; in a container, start it with the GPU (such as `--gpus all`)"
}

// gpu is about the first GPU and the way to it.
func (e *examination) gpu() []finding {
	g := e.GPU
	if g == nil {
		return []finding{fine("GPU", "%s", e.GPUError).
			needs(markFail, "look at nvidia-smi; runs on the processor (device.kind: cpu) go on")}
	}
	all := []finding{e.card(), e.blas(), e.deviceMemory(), e.link()}
	switch {
	case e.PinError != "":
		all = append(all, fine("pinning", "%s", e.PinError).
			needs(markFail, "free host memory, raise the container's memory limit, or \"ulimit -l unlimited\""))
	case e.PinRate > 0:
		f := fine("pinning", "%s of host memory (%s)", perSecond(e.PinRate, "B"), kernels.FormatBytes(int64(e.PinBytes)))
		if e.PinRate < leastPinned {
			f = f.needs(markWarn, "the first long text waits for it: see whether other programs keep the processors or memory busy")
		}
		all = append(all, f)
	}
	return all
}

func (e *examination) card() finding {
	g := e.GPU
	of := ""
	if e.GPUs > 1 {
		of = fmt.Sprintf(" (the first of %d; runs use it)", e.GPUs)
	}
	f := fine("GPU", "%s%s, compute capability %s, %d multiprocessors, kernels %s", g.Name, of, g.Capability, g.Multiprocessors, g.Image)
	switch {
	case g.ImageError != "":
		f.Found = fmt.Sprintf("%s%s: %s", g.Name, of, g.ImageError)
		return f.needs(markFail, "run on the processor (device.kind: cpu), or on a newer GPU")
	case e.GPUError != "" && g.BLASError == "":
		f.Found = fmt.Sprintf("%s%s: %s", g.Name, of, e.GPUError)
		return f.needs(markFail, "look at nvidia-smi; runs on the processor (device.kind: cpu) go on")
	}
	return f
}

func (e *examination) blas() finding {
	if e.GPU.BLASError != "" {
		return fine("cuBLASLt", "%s", e.GPU.BLASError).
			needs(markFail, "`pip install nvidia-cublas` and set HEADINFER_CUBLAS to the site-packages folder, or install a CUDA toolkit")
	}
	return fine("cuBLASLt", "%s, %s", e.GPU.BLASVersion, e.GPU.BLAS)
}

func (e *examination) deviceMemory() finding {
	free, total := e.GPU.FreeBytes, e.GPU.TotalBytes
	f := fine("GPU memory", "%s free of %s", kernels.FormatBytes(free), kernels.FormatBytes(total))
	if free < total/2 {
		return f.needs(markWarn, "other programs hold the rest (nvidia-smi lists them): end them, or keep device.memory below what is free")
	}
	return f
}

func (e *examination) link() finding {
	l := e.Link
	if l.Generation == 0 || l.Width == 0 {
		return fine("PCIe", "the system does not say which link the GPU has")
	}
	f := fine("PCIe", "generation %d × %d lanes, %s each way", l.Generation, l.Width, perSecond(l.BytesPerSecond(), "B"))
	if l.Width < l.MaxWidth || l.Generation < l.MaxGeneration {
		f.Found += fmt.Sprintf(" (it could be generation %d × %d)", l.MaxGeneration, l.MaxWidth)
		return f.needs(markWarn, "copies bound long contexts: see that the card is in a slot with all lanes, and what the firmware allows it")
	}
	return f
}

func (e *examination) processor() finding {
	name := e.Host.Processor
	if name == "" {
		name = "unknown"
	}
	f := fine("processor", "%s, %d threads, kernels %s", name, e.Host.Threads, e.Host.Level)
	if e.Host.Level == "go" {
		return f.needs(markWarn, "runs on the processor are slow here: the fast kernels need AVX2 or AVX-512 (and HEADINFER_SIMD not set to go)")
	}
	return f
}

func (e *examination) memory() finding {
	h := e.Host
	if h.TotalBytes == 0 {
		return fine("host memory", "the system does not say how much there is")
	}
	f := fine("host memory", "%s available of %s", kernels.FormatBytes(h.AvailableBytes), kernels.FormatBytes(h.TotalBytes))
	if h.TotalBytes < h.InstalledBytes {
		f.Found += fmt.Sprintf(" that the control group allows (%s are installed)", kernels.FormatBytes(h.InstalledBytes))
	}
	if h.AvailableBytes < leastHost {
		return f.needs(markWarn, "the cache of long texts lies there: end other programs, or raise the container's memory limit")
	}
	return f
}

func (e *examination) reads() finding {
	return fine("host reads", "%s by %d threads", perSecond(e.Host.ReadRate, "B"), e.Host.Threads)
}

func (e *examination) locked() finding {
	limit := e.Host.LockLimit
	if n, err := strconv.ParseInt(limit, 10, 64); err == nil {
		limit = kernels.FormatBytes(n)
	}
	f := fine("locked memory", "limit %s", limit)
	if e.PinError != "" && limit != "unlimited" {
		return f.needs(markWarn, "pinning failed, and this may be why: \"ulimit -l unlimited\"")
	}
	return f
}

// rates is what was measured of the device that runs use.
func (e *examination) rates() []finding {
	if e.RatesError != "" {
		return []finding{fine("rates", "%s: %s", e.Device, e.RatesError).
			needs(markFail, "runs would meet the same: see the lines above, and free memory if it is short")}
	}
	r := e.Rates
	copies := fine("copies", "%s in, %s out; both at once %s and %s",
		perSecond(r.CopyIn, "B"), perSecond(r.CopyOut, "B"), perSecond(r.BothIn, "B"), perSecond(r.BothOut, "B"))
	if most := e.Link.BytesPerSecond(); most > 0 && min(r.CopyIn, r.CopyOut) < leastOfLink*most {
		copies = copies.needs(markWarn, fmt.Sprintf("the link carries %s: see whether other programs use it, or the card hangs on another processor's memory (numactl)",
			perSecond(most, "B")))
	}
	return []finding{
		fine("device", "%s; a pass of %d tokens, as of Llama-3-8B:", e.Device, e.Shape.Rows),
		copies,
		fine("products", "%s", perSecond(r.Linear, "FLOP")),
		fine("attention", "%s", perSecond(r.Attention, "FLOP")),
		fine("memory reads", "%s", perSecond(r.Read, "B")),
	}
}

// perSecond writes a rate for a person: 54.7 GB/s, 798 TFLOP/s.
func perSecond(rate float64, unit string) string {
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T", "P"} {
		if rate < 999.5 {
			break
		}
		rate, prefix = rate/1000, p
	}
	return fmt.Sprintf("%.3g %s%s/s", rate, prefix, unit)
}
