//go:build !unix

package transfer

// syncDirectory does nothing where directories cannot be synchronised.
func syncDirectory(string) error { return nil }
