package tokenizer

import (
	"math"
	"strconv"
	"strings"
)

// pow10 is 10^n, which is exact up to n = 22 and the nearest float64 beyond.
func pow10(n int) float64 {
	f, _ := strconv.ParseFloat("1e"+strconv.Itoa(n), 64) // n is at most 308, so there is nothing that could fail
	return f
}

// jsonScore reads a number as the JSON reader of the Hugging Face library does: not the nearest float64, but the digits as an
// integer of 64 bits, those that fit, times or divided by a power of ten. That may differ in the last bit, and where the
// scores of two ways to divide a word are equal but for rounding, that bit decides.
func jsonScore(number string) (float64, error) {
	nearest, err := strconv.ParseFloat(number, 64)
	if err != nil || !strings.ContainsAny(number, ".eE") {
		return nearest, err
	}
	digits, exponentPart, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(number, "-")), "e")
	exponent := 0
	if exponentPart != "" {
		if exponent, err = strconv.Atoi(exponentPart); err != nil {
			return nearest, err
		}
	}
	var significand uint64
	whole, full := true, false
	for _, d := range []byte(digits) {
		if d == '.' {
			whole = false
			continue
		}
		v := uint64(d - '0')
		full = full || significand > (math.MaxUint64-v)/10
		switch {
		case !full:
			significand = 10*significand + v
			if !whole {
				exponent--
			}
		case whole:
			exponent++
		}
	}
	f := float64(significand)
	for ; exponent < -308 && f != 0; exponent += 308 {
		f /= 1e308
	}
	switch {
	case exponent > 308 || exponent < -308:
		return nearest, nil
	case exponent >= 0:
		f *= pow10(exponent)
	default:
		f /= pow10(-exponent)
	}
	if strings.HasPrefix(number, "-") {
		f = -f
	}
	return f, nil
}
