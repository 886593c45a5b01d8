package tokens

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// createFile makes path with the whole content or not at all, and leaves a file
// that is there already as it is.
func createFile(path string, content []byte) (created bool, err error) {
	temporary, err := writeTemporary(path, nil, content)
	if err != nil {
		return false, err
	}
	defer os.Remove(temporary)
	// Unlike a rename, a link never replaces what another process made meanwhile.
	if err = os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, syncDirectory(filepath.Dir(path))
}

// replaceFile puts the whole content in the place of the old file, with its owner,
// group and mode, or changes nothing. Only if the directory cannot be synced, the
// new file is there in spite of the error.
func replaceFile(path string, old fs.FileInfo, content []byte) error {
	temporary, err := writeTemporary(path, old, content)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// writeTemporary writes a file beside path and syncs it to disk. It has the owner,
// group and mode of the old file, or the mode 0600 where old is nil.
func writeTemporary(path string, old fs.FileInfo, content []byte) (temporary string, err error) {
	temporary = path + "." + rand.Text()
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	if old != nil {
		err = keepOwner(file, old)
		if err == nil { // changing the owner may change the mode
			err = file.Chmod(old.Mode().Perm())
		}
	}
	if err == nil {
		_, err = file.Write(content)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(temporary)
		return "", err
	}
	return temporary, nil
}
