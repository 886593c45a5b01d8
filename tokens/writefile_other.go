//go:build !unix

package tokens

import (
	"io/fs"
	"os"
)

// On Windows, a file inherits its access rights from its directory. A file has no Unix
// mode, and a directory cannot be synced. So there is nothing to do here.

func keepOwner(*os.File, fs.FileInfo) error { return nil }

func othersCanRead(fs.FileMode) bool { return false }

func othersCanWrite(fs.FileMode) bool { return false }

func syncDirectory(string) error { return nil }
