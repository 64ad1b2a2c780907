package main

import (
	"errors"
	"os"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cuda"
	devicerate "headinfer/kernels/rate"
)

const (
	// doctorMemory is the most device memory that rates are measured with.
	doctorMemory = 3 << 30
	// doctorPins is the most host memory that pinning is timed with.
	doctorPins = 2 << 30
	// doctorKeys is what attention sees when its rate is measured.
	doctorKeys = 32 << 10
)

// examination is everything that the doctor found out, before any judgement.
type examination struct {
	Version  string      `json:"version"`
	GPUBuild bool        `json:"gpu_build"`
	GPUs     int         `json:"gpus"`
	NoGPU    string      `json:"no_gpu,omitempty"` // why there are none
	GPU      *cuda.Facts `json:"gpu,omitempty"`    // the first
	GPUError string      `json:"gpu_error,omitempty"`
	Link     cuda.Link   `json:"link,omitzero"`
	PinRate  float64     `json:"pin_bytes_per_second,omitempty"`
	PinBytes int         `json:"pin_bytes,omitempty"`
	PinError string      `json:"pin_error,omitempty"`
	Host     hostFacts   `json:"host"`
	// Device is what runs will use; its rates are those of a pass of
	// Llama-3-8B's shape.
	Device     string           `json:"device"`
	Shape      devicerate.Shape `json:"shape"`
	Rates      devicerate.Rates `json:"rates,omitzero"`
	RatesError string           `json:"rates_error,omitempty"`
}

// newExamination looks at the machine and measures it.
func newExamination() examination {
	e := examination{Version: version(), GPUBuild: cuda.Built, Host: thisHost()}
	e.Host.ReadRate = devicerate.HostRead(0)
	e.GPUs, e.NoGPU = cuda.Available()
	dev, onGPU := e.open()
	if err := errors.Join(e.measure(dev, onGPU), dev.Close()); err != nil {
		e.RatesError = err.Error()
	}
	return e
}

// open opens the device that a run would use, and looks at the GPU if there
// is one.
func (e *examination) open() (dev kernels.Device, onGPU bool) {
	if e.GPUs > 0 {
		facts, err := cuda.Describe(0)
		if err == nil {
			e.GPU = &facts
			dev, err = cuda.Open(min(doctorMemory, facts.FreeBytes/10*9), 0)
		}
		if err == nil {
			return dev, true
		}
		e.GPUError = err.Error()
	}
	budget := int64(doctorMemory)
	if e.Host.AvailableBytes > 0 {
		budget = min(budget, e.Host.AvailableBytes/2)
	}
	return cpu.Open(budget, 0), false
}

// measure measures a device's rates, and what a GPU depends on besides.
func (e *examination) measure(dev kernels.Device, onGPU bool) (err error) {
	info := dev.Info()
	e.Device = info.Name
	e.Shape = devicerate.Shape{
		Rows: info.Chunk, Hidden: 4096, FFN: 14336, KVHeads: 8, Group: 4, HeadDim: 128, Keys: doctorKeys,
	}
	e.Rates, err = devicerate.Measure(dev, e.Shape)
	if err != nil || !onGPU {
		return err
	}
	e.Link = cuda.ReadLink(os.DirFS("/"), e.GPU.PCI) // while it is awake
	e.PinBytes = doctorPins
	if e.Host.AvailableBytes > 0 {
		e.PinBytes = int(min(doctorPins, e.Host.AvailableBytes/4))
	}
	if e.PinRate, err = devicerate.Pin(dev, e.PinBytes); err != nil {
		e.PinError = err.Error()
	}
	return nil
}
