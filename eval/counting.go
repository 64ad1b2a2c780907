package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// What RULER asks of lists of words.
const (
	commonWords   = 10
	commonTimes   = 30 // how often each stands in the list
	leastTimes    = 4  // in a short list
	uncommonTimes = 3
	frequentWords = 3
)

// common makes a numbered list in which ten words are far more frequent than the rest. A list that is short has them
// less often, the others once.
func common(d *drafter) (draft, error) {
	words := newVocabulary(d.rng)
	var expected []string
	for range commonWords {
		expected = append(expected, words.next())
	}
	// An entry of the list, roughly.
	entry := max(d.Count(" 4321. "+join(expected))/commonWords, 1)
	times := min(max(d.tokens/(3*commonWords*entry), leastTimes), commonTimes)
	rest := max(times*uncommonTimes/commonTimes, 1)
	order := d.rng.Uint64()
	var others []string
	body := func(room int) (string, error) {
		var list []string
		for _, w := range expected {
			for range times {
				list = append(list, w)
			}
		}
		taken := func(n int, w string) int { return d.Count(" "+strconv.Itoa(n)+".") + d.Count(" "+w) }
		for i, w := range list {
			room -= taken(i+1, w)
		}
		if room < 0 {
			return "", fmt.Errorf("%w: the common words take %d more", ErrShort, -room)
		}
		for n := 0; ; n++ {
			if n/rest == len(others) {
				others = append(others, words.next())
			}
			w := others[n/rest]
			need := taken(len(list)+1, w)
			if room < need/2 {
				break
			}
			room -= need
			list = append(list, w)
		}
		rng := rand.New(rand.NewPCG(order, 0))
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		var out strings.Builder
		out.WriteString("A numbered list of words follows. Some of them come far more often than the others.\n\n")
		for i, w := range list {
			if i > 0 {
				out.WriteByte(' ')
			}
			fmt.Fprintf(&out, "%d. %s", i+1, w)
		}
		return out.String(), nil
	}
	return draft{fmt.Sprintf("What are the %d most common words in the list?", commonWords), expected, body}, nil
}

// frequent makes a text of coded words in which the n-th is n² times as rare as the first, which is a mark that does
// not count.
func frequent(d *drafter) (draft, error) {
	const mark = "..."
	s := newScene(d.rng)
	var coded []string
	word := func(rank int) string {
		for rank >= len(coded) {
			coded = append(coded, s.fresh(func() string {
				name := make([]byte, 6)
				for i := range name {
					name[i] = byte('a' + d.rng.IntN(26))
				}
				return string(name)
			}))
		}
		return coded[rank]
	}
	var expected []string
	for i := range frequentWords {
		expected = append(expected, word(i))
	}
	order := d.rng.Uint64()
	body := func(room int) (string, error) {
		// The sum of 1/n² is π²/6, so this is the share of the mark, and the mean of what an entry takes.
		const marks = 6 / (math.Pi * math.Pi)
		mean := marks*float64(d.Count(" "+mark)) + (1-marks)*float64(d.Count(" "+strings.Join(expected, " ")))/frequentWords
		whole := float64(room) / max(mean, 1)
		var list []string
		for rank := 0; room > 0; rank++ {
			w, n := mark, whole*marks/float64((rank+1)*(rank+1))
			if rank > 0 {
				w = word(rank - 1)
			}
			cost := max(d.Count(" "+w), 1)
			for i := 0; i < max(int(math.Round(n)), 1); i++ {
				if room <= cost/2 {
					room = 0
					break
				}
				room -= cost
				list = append(list, w)
			}
		}
		if !distinct(list, expected) {
			return "", fmt.Errorf("%w: the three most frequent words are not told from the others", ErrShort)
		}
		rng := rand.New(rand.NewPCG(order, 0))
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return "A coded text follows. The dots are no word.\n\n" + strings.Join(list, " "), nil
	}
	return draft{fmt.Sprintf("What are the %d most frequent words of the coded text?", frequentWords), expected, body}, nil
}

// distinct says whether each of the expected words is in the list more often than any that comes after it.
func distinct(list, expected []string) bool {
	times := map[string]int{}
	for _, w := range list {
		times[w]++
	}
	least := math.MaxInt
	for _, w := range expected {
		if times[w] >= least {
			return false
		}
		least = times[w]
		delete(times, w)
	}
	delete(times, "...")
	for _, n := range times {
		if n >= least {
			return false
		}
	}
	return true
}

// vocabulary deals words of English without end: short ones, then compounds. No word that is dealt is part of
// one of the first, or has one of them in it.
type vocabulary struct {
	rng   *rand.Rand
	seen  map[string]bool
	first []string
	short []string
}

func newVocabulary(rng *rand.Rand) *vocabulary {
	v := &vocabulary{rng: rng, seen: map[string]bool{}}
	v.short = append(append(v.short, modifiers...), places...)
	rng.Shuffle(len(v.short), func(i, j int) { v.short[i], v.short[j] = v.short[j], v.short[i] })
	return v
}

func (v *vocabulary) next() string {
	for {
		var w string
		switch {
		case len(v.short) > 0:
			w, v.short = v.short[0], v.short[1:]
		case len(v.seen) < len(modifiers)*len(places)/2:
			w = pick(v.rng, modifiers) + pick(v.rng, places)
		default:
			w = pick(v.rng, modifiers) + pick(v.rng, modifiers) + pick(v.rng, places)
		}
		if v.seen[w] || v.near(w) {
			continue
		}
		v.seen[w] = true
		if len(v.first) < commonWords {
			v.first = append(v.first, w)
		}
		return w
	}
}

// near says whether a word and one of the first would be found in each other.
func (v *vocabulary) near(w string) bool {
	for _, first := range v.first {
		if strings.Contains(w, first) || strings.Contains(first, w) {
			return true
		}
	}
	return false
}
