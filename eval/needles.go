package eval

import "slices"

// needles are how many facts, values or keys the tasks with several have, as in RULER.
const needles = 4

// single plants one fact.
func single(d *drafter) (draft, error) {
	s := newScene(d.rng)
	k, v := key{s.attribute(), s.place()}, s.value()
	body, err := d.planted([]fact{{k.is(v), d.depth}})
	return draft{"What is " + k.String() + "?", []string{v}, body}, err
}

// multikey plants one fact, and others that differ from it in the place alone.
func multikey(d *drafter) (draft, error) {
	s := newScene(d.rng)
	k, v := key{s.attribute(), s.place()}, s.value()
	facts := []fact{{k.is(v), d.depth}}
	for range needles - 1 {
		facts = append(facts, fact{key{k.attribute, s.place()}.is(s.value()), d.rng.Float64()})
	}
	body, err := d.planted(facts)
	return draft{"What is " + k.String() + "?", []string{v}, body}, err
}

// multivalue plants several values of one key.
func multivalue(d *drafter) (draft, error) {
	s := newScene(d.rng)
	k := key{s.attribute() + "s", s.place()}
	var facts []fact
	var values []string
	for range needles {
		v := s.value()
		values = append(values, v)
		facts = append(facts, fact{"One of " + k.String() + " is " + v + ".", d.rng.Float64()})
	}
	body, err := d.planted(facts)
	return draft{"What are all " + k.String() + "?", values, body}, err
}

// multiquery plants several facts and asks for all.
func multiquery(d *drafter) (draft, error) {
	s := newScene(d.rng)
	var facts []fact
	var keys, values []string
	for range needles {
		k, v := key{s.attribute(), s.place()}, s.value()
		keys, values = append(keys, k.String()), append(values, v)
		facts = append(facts, fact{k.is(v), d.rng.Float64()})
	}
	body, err := d.planted(facts)
	return draft{"What are " + join(keys) + "?", values, body}, err
}

// hops are how often a variable is copied, as in RULER.
const hops = 4

// tracking plants a value and the copies of it, in their order.
func tracking(d *drafter) (draft, error) {
	s := newScene(d.rng)
	v := s.value()
	names := []string{s.variable()}
	sentences := []string{v + " is stored in " + names[0] + "."}
	for range hops {
		names = append(names, s.variable())
		sentences = append(sentences, names[len(names)-2]+" is copied to "+names[len(names)-1]+".")
	}
	depths := make([]float64, len(sentences))
	for i := range depths {
		depths[i] = d.rng.Float64()
	}
	slices.Sort(depths)
	var facts []fact
	for i, sentence := range sentences {
		facts = append(facts, fact{sentence, depths[i]})
	}
	body, err := d.planted(facts)
	return draft{"Which variables hold " + v + "?", names, body}, err
}
