//go:build !unix

package tokens

import (
	"io/fs"
	"os"
)

// Windows passes the rights of a directory on to its files, and has neither a mode
// nor a sync of directories.

func keepOwner(*os.File, fs.FileInfo) error { return nil }

func isExposed(fs.FileMode) bool { return false }

func syncDirectory(string) error { return nil }
