// Package queue carries a run's documents to other machines and their answers
// back, over NATS JetStream. It knows neither models nor pipelines: documents
// and answers are bytes with a name.
//
// # What lies on the server
//
// A run has a record in the key–value bucket headinfer_runs, under its name:
// the pipeline, the model's fingerprint and the run's id, which is new whenever
// the run begins anew and is part of all other names. Of an open run there are
//
//	headinfer-NAME-ID-work      stream, work queue: a message a document; gone when it is acknowledged
//	headinfer-NAME-ID-answers   stream, work queue: a message an answer or dead letter; gone when the collector has it
//	headinfer-NAME-ID           object store: documents and answers too large for a message, and an
//	                            empty object for each delivery that a worker has outlived
//
// all in files, with as many replicas as the run asks for. [Run.Complete]
// removes the three and leaves the record, which tells workers to go.
//
// # What is promised
//
// A document has a subject of its own, and the stream refuses a second message
// on a subject while the first is there: a document is in the queue once, waiting
// or held, however often and by whomever it is submitted. A worker that holds a
// document says so every third of [Record.AckWait]; when it no longer does, the
// document goes to another. A document is given up when [Record.Deliveries] workers
// have died with it: deliveries that ended otherwise are noted and do not count. An answer's message id is the answer's key and the
// number of the document's message, so that the server drops what is published
// twice within [duplicates]; what comes later, the collector must refuse by key.
// A worker acknowledges a document after the server has confirmed its answers,
// and the collector an answer after it has committed it: between the two, each is
// in the queue, in the answers, or in both. The collector says every third of
// [Record.AckWait] which answers it holds; one that a server sent and that never
// came, as its death can bring about, is sent again.
//
// Calls survive the loss of a connection and of a server's leader: they are tried
// again until they succeed, their context ends, or the server refuses them.
package queue
