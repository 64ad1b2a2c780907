package tokenizer

import "golang.org/x/text/unicode/norm"

// nfc composes characters (Unicode Normalization Form C). Invalid bytes stay as they are.
func nfc(s string) string { return norm.NFC.String(s) }
