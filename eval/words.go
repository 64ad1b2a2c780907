package eval

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// What facts are about: an attribute of a place, such as the access code of the north gate.
var (
	modifiers = strings.Fields(`north south east west old new red blue green quiet broad narrow upper lower inner outer silver
		golden iron stone wooden glass first second third last hidden open sunny misty frozen amber violet crimson ivory distant
		nearby hollow gentle sturdy crooked ancient modern royal public private coastal central remote rural boat clock wine sea
		bell salt map corn coal lamp rope tea bread paper copper brass marble oak cedar winter summer harvest pilgrim weaver
		miller baker sailor bishop garden river mountain forest valley island market railway school hospital`)
	places = strings.Fields(`gate tower bridge harbour library garden station market museum workshop cellar archive mill barn
		chapel tunnel vault depot ferry lighthouse observatory orchard stable theatre warehouse windmill fountain courtyard kiln
		forge pavilion bakery clinic foundry granary hangar jetty kennel laundry nursery quarry refinery sawmill terrace aquarium
		brewery cannery dairy shed house chest room store safe cabinet locker drawer box hall attic study kitchen office lock
		door cupboard trunk wagon boat barge cabin lodge inn school tavern`)
	attributes = []string{
		"access code", "secret code", "door number", "serial number", "opening key", "secret number", "badge number",
		"pass number", "magic number", "lock code", "alarm code", "account number", "ticket number", "order number",
		"security code", "entry code", "safe number", "case number", "room number", "special number",
	}
)

// key is what a fact gives the value of.
type key struct{ attribute, place string }

// scene keeps keys and values of one text apart.
type scene struct {
	rng  *rand.Rand
	used map[string]bool
}

func newScene(rng *rand.Rand) *scene { return &scene{rng, map[string]bool{}} }

func pick(rng *rand.Rand, words []string) string { return words[rng.IntN(len(words))] }

// fresh draws until it gets what was not there before.
func (s *scene) fresh(draw func() string) string {
	for {
		if word := draw(); !s.used[word] {
			s.used[word] = true
			return word
		}
	}
}

func (s *scene) attribute() string { return pick(s.rng, attributes) }

// place is one that no other fact is about.
func (s *scene) place() string {
	return s.fresh(func() string { return "the " + pick(s.rng, modifiers) + " " + pick(s.rng, places) })
}

// value is five digits.
func (s *scene) value() string {
	return s.fresh(func() string { return strconv.Itoa(10000 + s.rng.IntN(90000)) })
}

// variable is three capitals without a vowel, so that they make no word.
func (s *scene) variable() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	return s.fresh(func() string {
		name := make([]byte, 3)
		for i := range name {
			name[i] = letters[s.rng.IntN(len(letters))]
		}
		return string(name)
	})
}

func (k key) String() string { return "the " + k.attribute + " of " + k.place }

// is states the value of a key.
func (k key) is(value string) string { return capital(k.String()) + " is " + value + "." }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// join writes a, b and c.
func join(items []string) string {
	if len(items) == 1 {
		return items[0]
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
