package tokens

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// createFile makes a file at path with the whole content, or makes no file. If there is
// a file already, createFile leaves it as it is and reports false.
func createFile(path string, content []byte) (created bool, err error) {
	temporary, err := writeTemporary(path, nil, content)
	if err != nil {
		return false, err
	}
	defer os.Remove(temporary)
	// Unlike Rename, Link never replaces a file that another process made meanwhile.
	if err = os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, withoutName(err)
	}
	return true, syncDirectory(filepath.Dir(path))
}

// replaceFile replaces the old file with a file that has the whole content and the
// owner, group and mode of the old one. If it returns an error, the old file stays, with
// one exception: if the directory cannot be synced, the new file is in place.
func replaceFile(path string, old fs.FileInfo, content []byte) error {
	temporary, err := writeTemporary(path, old, content)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return withoutName(err)
	}
	return syncDirectory(filepath.Dir(path))
}

// writeTemporary writes a new file in the directory of path and syncs it to disk. The
// file has the owner, group and mode of the old file, or mode 0600 if old is nil.
func writeTemporary(path string, old fs.FileInfo, content []byte) (temporary string, err error) {
	temporary = path + "." + rand.Text()
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", withoutName(err)
	}
	if old != nil {
		err = keepOwner(file, old)
		if err == nil { // after keepOwner, because a change of owner can change the mode
			err = withoutName(file.Chmod(old.Mode().Perm()))
		}
	}
	if err == nil {
		_, err = file.Write(content)
		err = withoutName(err)
	}
	if err == nil {
		err = withoutName(file.Sync())
	}
	if err = errors.Join(err, withoutName(file.Close())); err != nil {
		os.Remove(temporary)
		return "", err
	}
	return temporary, nil
}

// withoutName takes the name of a temporary file out of an error of package os. The name
// tells a reader nothing, and callers add the name of the file that they want.
func withoutName(err error) error {
	switch err := err.(type) {
	case *fs.PathError:
		return err.Err
	case *os.LinkError:
		return err.Err
	}
	return err
}
