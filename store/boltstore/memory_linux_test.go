package boltstore_test

import (
	"os"
	"syscall"
)

// avoidDisk has the tests keep their files in memory, if the system has room for them there: on a
// disk they would spend most of their time in syncs. The tests end processes and never the system,
// so files in memory survive as much as files on a disk. Set TMPDIR to run them on a disk.
func avoidDisk() {
	const memory, room = "/dev/shm", 1 << 30
	var found syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(memory, &found) == nil && found.Bavail*uint64(found.Bsize) >= room {
		os.Setenv("TMPDIR", memory)
	}
}
