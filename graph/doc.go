// Package graph runs a dataflow: stages written against one small interface, joined by bounded channels, with one
// context, one failure and one set of figures for the whole run. It is built on github.com/reugn/go-streams, whose
// Source, Flow and Sink every node of this package implements, and adds what that library leaves out: cancellation,
// errors, recovered panics, typed edges that are checked before anything starts, dead letters, counters and spans.
//
// # Two ways in
//
// A Go program wraps stages with [FromSource], [Flow] and [ToSink] and joins them with go-streams' own Via and To, its
// connectors and operators included; a [Scope] makes several nodes one run.
//
//	scope := graph.NewScope(ctx)
//	graph.FromSource("files", files, graph.WithScope(scope)).
//		Via(flow.NewMap(strings.ToUpper, 1)).
//		Via(graph.Flow("count", counter, graph.WithScope(scope))).
//		To(graph.ToSink("print", printer, graph.WithScope(scope)))
//	err := scope.Wait()
//
// A pipeline file names stages of a [Registry]: [Registry.Check] turns its entries into a [Graph] or into problems with
// their place in the file, [Graph.Build] constructs the stages, and [Run.Run] blocks until every node has exited.
//
// # Shape
//
// A node has at most one inlet and one outlet. An outlet with several readers is a broadcast: each reader gets each item,
// in the same order, and the slowest holds the others back. An inlet has one writer. What crosses an edge is one value of
// the edge's Go type in an interface: pass pointers or small structs of handles, never the data they stand for.
//
// # Ownership
//
// An item belongs to whoever holds it. Handing it to emit (or to [Run.Send]) gives it away, whether or not the call
// succeeds: what could not be delivered has been released when emit returns its error. An item given to Process or Consume
// belongs to the stage from its first emit or its nil return on; when the call fails, or panics, before any emit, the
// runtime releases the item, so a failing stage just returns its error. To release an item is to call its Release method
// if it is a [Releaser], and nothing otherwise. An item broadcast to n readers is released n times, and [Retainer.Retain]
// is called n-1 times before the first of them sees it: a Releaser that may have several readers counts its references.
// Items that several readers share are read-only.
//
// # Ends
//
// A run ends when its sources are done and every item has gone through, or at its first failure: a panic, or an error that
// Process returns and that is not a [DocumentError] for the dead letters. A failure cancels the context of every node with
// a [StageError] as its cause. Whatever the reason, a node that exits closes its outlet, then receives from its inlet until
// that is closed, releasing what it drops, and then closes its stage if that is a [Closer]; so no goroutine and no buffer
// outlives the run, as long as stages return when their context is cancelled.
package graph
