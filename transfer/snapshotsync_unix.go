//go:build unix

package transfer

import (
	"errors"
	"os"
)

// syncDirectory makes a renamed file's name last through a power cut.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
