package graph

import (
	"context"

	"github.com/reugn/go-streams"
)

// A SourceNode is a running [Source], and a streams.Source.
type SourceNode struct{ nodeWithOutlet }

// A FlowNode is a running [Stage] or [Batcher], and a streams.Flow.
type FlowNode struct{ nodeWithOutlet }

// A SinkNode is a running [Sink], and a streams.Sink.
type SinkNode struct{ n *node }

var (
	_ streams.Source = (*SourceNode)(nil)
	_ streams.Flow   = (*FlowNode)(nil)
	_ streams.Sink   = (*SinkNode)(nil)
)

// FromSource makes a node of src. It starts when it is connected.
func FromSource[Out any](name string, src Source[Out], opts ...NodeOption) *SourceNode {
	n := newNode(name, nodeSettings(opts))
	bindSource(n, src)
	return &SourceNode{nodeWithOutlet{n}}
}

// Flow makes a node of st. It starts when its inlet is connected.
func Flow[In, Out any](name string, st Stage[In, Out], opts ...NodeOption) *FlowNode {
	n := newNode(name, nodeSettings(opts))
	bindStage(n, st)
	return &FlowNode{nodeWithOutlet{n}}
}

// BatchFlow makes a node of b. It starts when its inlet is connected.
func BatchFlow[In, Out any](name string, b Batcher[In, Out], opts ...NodeOption) *FlowNode {
	n := newNode(name, nodeSettings(opts))
	bindBatcher(n, b)
	return &FlowNode{nodeWithOutlet{n}}
}

// ToSink makes a node of sink. It starts when its inlet is connected.
func ToSink[In any](name string, sink Sink[In], opts ...NodeOption) *SinkNode {
	n := newNode(name, nodeSettings(opts))
	bindSink(n, sink)
	return &SinkNode{n}
}

func nodeSettings(opts []NodeOption) settings {
	s := settings{capacity: defaultCapacity}
	for _, o := range opts {
		o.forNode(&s)
	}
	return s
}

// nodeWithOutlet is what sources and flows have in common.
type nodeWithOutlet struct{ n *node }

// Out returns a channel of the node's items; the same one each time. It is one more reader: a node whose Out is taken and
// that is also given to Via sends each item both ways.
func (o nodeWithOutlet) Out() <-chan any {
	ch := o.n.out.channel()
	o.startSource()
	return ch
}

// Via connects the node to next and returns next. Each call adds a reader; use [SourceNode.Tee] where several must see the
// first item too.
func (o nodeWithOutlet) Via(next streams.Flow) streams.Flow {
	o.Tee(next)
	return next
}

// Tee connects the node to several readers at once: each gets every item.
func (o nodeWithOutlet) Tee(inlets ...streams.Inlet) {
	channels := make([]chan<- any, len(inlets))
	for i, in := range inlets {
		channels[i] = in.In()
	}
	o.n.out.attach(channels...)
	o.startSource()
}

// To connects the node to sink and blocks until sink is done. Whether it went well is told by [Scope.Wait], or by Err of
// the nodes.
func (o nodeWithOutlet) To(sink streams.Sink) {
	o.Tee(sink)
	sink.AwaitCompletion()
}

// startSource starts a source, now that something reads from it; other nodes start with their inlet.
func (o nodeWithOutlet) startSource() {
	if o.n.produce != nil {
		o.n.start()
	}
}

// Stats returns what the node has done so far.
func (o nodeWithOutlet) Stats() Stats { return o.n.stats() }

// Err waits until the node, which must have been connected, has exited, and returns nil if it came to the end of its
// input, and else why not.
func (o nodeWithOutlet) Err() error { return o.n.err() }

// In returns the node's inlet. Whoever takes it must close it, and is the only one to send to it.
func (f *FlowNode) In() chan<- any {
	f.n.start()
	return f.n.inlet
}

// In returns the node's inlet. Whoever takes it must close it, and is the only one to send to it.
func (s *SinkNode) In() chan<- any {
	s.n.start()
	return s.n.inlet
}

// AwaitCompletion blocks until the sink, which must have been connected, has finished and is closed.
func (s *SinkNode) AwaitCompletion() { <-s.n.done }

// Stats returns what the sink has done so far.
func (s *SinkNode) Stats() Stats { return s.n.stats() }

// Err waits until the sink, which must have been connected, has exited, and returns nil if it came to the end of its
// input, and else why not.
func (s *SinkNode) Err() error { return s.n.err() }

func (n *node) err() error {
	<-n.done
	if n.completed {
		return nil
	}
	return context.Cause(n.scope.ctx)
}
