package boltstore

import (
	"cmp"
	"fmt"
	"time"
)

// largeFile is the size from which a check is announced, in bytes. The check of a smaller
// file takes a few seconds at most.
const largeFile = 256 << 20

// These are how many bytes a check reads in a second: if the system has the file in memory,
// and from a slow disk. The first was measured, on a file of 400,000 accounts. The second is
// what the cheaper disks of clouds promise.
const (
	memorySpeed = 500 << 20
	diskSpeed   = 100 << 20
)

// announceCheck logs how long the check of a large file will take. The function that it
// returns logs how long it took.
func (c *Config) announceCheck(size int64) (ended func()) {
	if size < cmp.Or(c.announceFrom, largeFile) {
		return func() {}
	}
	c.Logger.Info("checking the account file", "mib", size>>20, "estimate", estimate(size))
	begun := time.Now()
	return func() {
		c.Logger.Info("the check of the account file has ended", "took", time.Since(begun).Round(time.Millisecond))
	}
}

// estimate says how long a check takes. Nobody knows how much of the file is in memory.
func estimate(size int64) string {
	return fmt.Sprintf("about %s if the system has it in memory, and up to %s if it comes from a disk that reads %d MiB a second",
		seconds(size, memorySpeed), seconds(size, diskSpeed), diskSpeed>>20)
}

// seconds returns how long it takes to read so many bytes, in whole seconds.
func seconds(size, speed int64) time.Duration {
	return time.Duration((size+speed-1)/speed) * time.Second
}
