package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"github.com/minio/minio-go/v7"
)

// compared is how much of an object is compared at a time.
const compared = 1 << 20

// Differs reads an object, and says how it is not the file that it was made of: "" where
// it is, or where the key that the environment names may write it and not read it.
func Differs(ctx context.Context, name string, file *os.File) (string, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	o, err := openObject(ctx, name)
	switch {
	case forbidden(err):
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		return "is missing", nil
	case err != nil:
		return "", err
	case o.Size() != info.Size():
		return fmt.Sprintf("has %d bytes, and %d were uploaded", o.Size(), info.Size()), nil
	}
	defer o.Close()
	there, here := make([]byte, compared), make([]byte, compared)
	for at := int64(0); at < info.Size(); at += compared {
		n := min(compared, info.Size()-at)
		if _, err := io.ReadFull(o, there[:n]); forbidden(err) {
			return "", nil
		} else if err != nil {
			return "", err
		}
		if _, err := file.ReadAt(here[:n], at); err != nil {
			return "", err
		}
		if !bytes.Equal(there[:n], here[:n]) {
			return "is not what was uploaded", nil
		}
	}
	return "", nil
}

// forbidden reports whether a key may not read an object.
func forbidden(err error) bool {
	refusal, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && refusal.StatusCode == http.StatusForbidden
}
