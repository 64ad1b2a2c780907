package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// PageFile is the name of the page in its folder.
const PageFile = "report.html"

// Write makes a folder with the page and its pictures, and returns their paths. Each file
// takes the place of an earlier one when it is whole. An error names the file.
func (p *Page) Write(dir string) (paths []string, err error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	put := func(name string, write func(io.Writer) error) {
		path := filepath.Join(dir, name)
		if failed := replace(path, write); failed != nil {
			err = errors.Join(err, fmt.Errorf("report: %s: %w", path, failed))
			return
		}
		paths = append(paths, path)
	}
	for _, picture := range p.pictures() {
		put(picture.Name+".svg", picture.Draw.SVG)
		put(picture.Name+".png", picture.Draw.PNG)
	}
	put(PageFile, p.HTML)
	return paths, err
}

// replace makes a file of what write writes, and gives it its name when it is whole.
func replace(path string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
