package stages

// Tile returns the shape of the latest pass's tiles: KV heads, and tokens, 0
// meaning all of the context.
func (e *Engine) Tile() (group, span int) {
	e.passes.Lock()
	defer e.passes.Unlock()
	return e.loop.group, e.loop.span
}

// Trim gives back the device memory that only passes need, activations and
// ring, so that what the next text takes is not hidden by what an earlier one
// took. The next pass takes it anew.
func (e *Engine) Trim() {
	e.passes.Lock()
	defer e.passes.Unlock()
	e.loop.trim()
	e.decoder.Close()
}

// OnHost reports whether the text's cache lies in host memory.
func (t *Text) OnHost() bool { return t.engine.loop.onHost }
