package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Bytes is a size in bytes, written as "2GiB" (powers of 1024), "512 MB" (powers of 1000), or a plain number.
type Bytes int64

// Count is a number of things, written as 4096, 32Ki (32 × 1024), 8k (8 × 1000) or 2M.
type Count int

// Choice is one of the words that its field's tag allows, or a count. Word is "" exactly when N was given.
type Choice struct {
	Word string
	N    int
}

var (
	countUnits = map[string]int64{
		"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
		"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
	}
	byteUnits = map[string]int64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
		"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
		"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
	}
)

// Why a quantity could not be read. Callers add what was written.
var (
	errNotNumber = errors.New("not a number")
	errNegative  = errors.New("negative")
	errNotWhole  = errors.New("not a whole number")
	errTooLarge  = errors.New("too large")
)

// ParseBytes reads a size such as "2GiB", "1.5 GB", "64k" or "1024". Units ignore case. It refuses what is negative, not a
// whole number of bytes, or over 2⁶³-1.
func ParseBytes(text string) (Bytes, error) {
	n, err := parseQuantity(text, byteUnits, math.MaxInt64)
	if err != nil {
		return 0, fmt.Errorf("%q is %w; expected a size such as 2GiB, 512 MB or 1024", clip(text), err)
	}
	return Bytes(n), nil
}

// ParseCount reads a count such as "4096", "32Ki", "8k" or "1.5M". Units ignore case. It refuses what is negative, not
// whole, or over what an int holds.
func ParseCount(text string) (Count, error) {
	n, err := parseQuantity(text, countUnits, math.MaxInt)
	if err != nil {
		return 0, fmt.Errorf("%q is %w; expected a count such as 4096, 32Ki or 8k", clip(text), err)
	}
	return Count(n), nil
}

// parseQuantity reads a decimal number, which may have underscores between digits and a fraction, and a unit. The result
// is exact and in [0, limit].
func parseQuantity(text string, units map[string]int64, limit int64) (int64, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-") {
		return 0, errNegative
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789._", r) })
	if end < 0 {
		end = len(text)
	}
	digits := text[:end]
	if digits == "" || !isDigit(digits[0]) || !isDigit(digits[len(digits)-1]) || strings.Count(digits, ".") > 1 {
		return 0, errNotNumber
	}
	unit, ok := units[strings.ToLower(strings.TrimSpace(text[end:]))]
	if !ok {
		return 0, fmt.Errorf("%w with a known unit", errNotNumber)
	}
	// A number of 40 digits is past any limit here, and reading a longer one exactly costs more than linear time.
	if len(digits) > 40 {
		return 0, errTooLarge
	}
	value, ok := new(big.Rat).SetString(strings.ReplaceAll(digits, "_", ""))
	if !ok {
		return 0, errNotNumber
	}
	value.Mul(value, new(big.Rat).SetInt64(unit))
	switch {
	case !value.IsInt():
		return 0, errNotWhole
	case value.Num().Cmp(big.NewInt(limit)) > 0:
		return 0, errTooLarge
	}
	return value.Num().Int64(), nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// String writes the size with the largest unit of 1024 that divides it, so that ParseBytes reads the same number back.
func (b Bytes) String() string {
	for _, unit := range []struct {
		name string
		size Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && b%unit.size == 0 {
			return strconv.FormatInt(int64(b/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// String writes the count in Ki or Mi where that is exact, so that ParseCount reads the same number back.
func (c Count) String() string {
	switch {
	case c != 0 && c%(1<<20) == 0:
		return strconv.Itoa(int(c>>20)) + "Mi"
	case c != 0 && c%(1<<10) == 0:
		return strconv.Itoa(int(c>>10)) + "Ki"
	}
	return strconv.Itoa(int(c))
}

// Is reports whether the choice is this word.
func (c Choice) Is(word string) bool { return c.Word == word && word != "" }

// String returns the word, or the count as [Count] writes it.
func (c Choice) String() string {
	if c.Word != "" {
		return c.Word
	}
	return Count(c.N).String()
}
