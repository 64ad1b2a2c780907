// Package stages holds every box that pipeline.yaml can name, one short file
// each, and the Engine that they share: a model on a device with its head
// loop.
//
// At the documents level a Document becomes a Prompt (tokenize), a Prefilled
// sequence (chunked-prefill), an Answer (decode), and a record in a file. At
// the heads level a Planned tile becomes Fetched (prefetch), Attended
// (attention) and Stored (offload); what crosses an edge is a pointer and
// events, never the data.
package stages

//go:generate sh -c "go run ../cmd/headinfer stages --markdown > ../docs/stages.md"
//go:generate sh -c "go run ../cmd/headinfer stages --schema > ../docs/pipeline.schema.json"
