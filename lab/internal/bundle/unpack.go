//go:build linux

package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// unpack unpacks the files of a package into dst, each where place says, and
// returns the SHA-256 of the package. Folders get made as files need them; what
// is neither file nor link is left out, and so are links by absolute names,
// which would lead out of the folder.
func unpack(ctx context.Context, deb string, dst *os.Root, place func(name string) (string, bool)) (string, error) {
	sum, err := fileSum(deb)
	if err != nil {
		return "", fmt.Errorf("lab: reading a package: %w", err)
	}
	// dpkg-deb knows how the package is compressed.
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	r, w, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("lab: starting dpkg-deb: %w", err)
	}
	defer r.Close()
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	result := make(chan error, 1)
	go func() { result <- runGroup(cmd, func() { w.Close() }) }()
	err = extract(r, dst, place)
	r.Close() // or dpkg-deb waits for somebody who reads the rest
	ran := <-result
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("lab: unpacking %s: %w", filepath.Base(deb), context.Cause(ctx))
	case err == nil && ran == nil:
		return sum, nil
	case errors.Is(err, errTar):
		return "", programError("dpkg-deb "+filepath.Base(deb), errors.Join(ran, err), stderr.String())
	case err != nil:
		return "", spaceError("unpacking "+filepath.Base(deb), err)
	}
	return "", programError("dpkg-deb "+filepath.Base(deb), ran, stderr.String())
}

// errTar says that what dpkg-deb wrote ended early or is no archive.
var errTar = errors.New("reading the archive")

// A contentReader tells errors of reading, which it marks, from those of
// writing.
type contentReader struct{ r io.Reader }

func (c contentReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF { // as it is: that is how readers say the end
		err = fmt.Errorf("%w: %w", errTar, err)
	}
	return n, err
}

// extract unpacks an archive, to its end.
func extract(r io.Reader, dst *os.Root, place func(name string) (string, bool)) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("%w: %w", errTar, err)
		}
		to, ok := place(packagePath(h.Name))
		if !ok {
			continue
		}
		if err := extractOne(contentReader{archive}, h, dst, to, place); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // what is behind the end
		return fmt.Errorf("%w: %w", errTar, err)
	}
	return nil
}

func extractOne(content io.Reader, h *tar.Header, dst *os.Root, to string, place func(name string) (string, bool)) error {
	switch h.Typeflag {
	case tar.TypeReg:
		if err := dst.MkdirAll(path.Dir(to), 0o755); err != nil {
			return err
		}
		// Of the mode, what says whether it can be run.
		mode := os.FileMode(0o644)
		if h.Mode&0o111 != 0 {
			mode = 0o755
		}
		f, err := dst.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Close())
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) {
			return nil
		}
		if err := dst.MkdirAll(path.Dir(to), 0o755); err != nil {
			return err
		}
		return dst.Symlink(h.Linkname, to)
	case tar.TypeLink:
		from, ok := place(packagePath(h.Linkname))
		if !ok {
			return fmt.Errorf("%w: %s is a link to %s, which is left out", errTar, h.Name, h.Linkname)
		}
		if err := dst.MkdirAll(path.Dir(to), 0o755); err != nil {
			return err
		}
		return dst.Link(from, to)
	}
	return nil
}

// fileSum returns the SHA-256 of a file.
func fileSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
