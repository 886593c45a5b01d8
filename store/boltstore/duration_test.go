package boltstore

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This test is inside the package because a large file is too large for a test: it lowers the
// size from which a file is large.

func TestCheckOfLargeFileIsAnnounced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	opened := func(config Config) []string {
		t.Helper()
		var log bytes.Buffer
		config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s, err := Open(path, config)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		return strings.Split(strings.TrimSpace(log.String()), "\n")
	}
	opened(Config{}) // this makes the file
	assert.Equal(t, []string{""}, opened(Config{}), "a small one")
	announced := opened(Config{announceFrom: 1})
	require.Len(t, announced, 2)
	for _, line := range announced {
		assert.Contains(t, line, "level=INFO")
		assert.Contains(t, line, path)
	}
	assert.Contains(t, announced[0], "mib=0")
	assert.Contains(t, announced[0], "estimate=")
	assert.Contains(t, announced[1], "took=")
	assert.Equal(t, []string{""}, opened(Config{announceFrom: 1, NoCheck: true}), "nothing to wait for")

	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	h, err := readHeader(file)
	require.NoError(t, err)
	size := int64(h.end * h.pageSize)
	assert.Len(t, opened(Config{announceFrom: size}), 2, "just large enough")
	assert.Equal(t, []string{""}, opened(Config{announceFrom: size + 1}), "just too small")

	background := make(lines, 10)
	s, err := Open(path, Config{announceFrom: size, CheckInBackground: true, Logger: slog.New(slog.NewTextHandler(background, nil))})
	require.NoError(t, err)
	assert.Contains(t, <-background, "estimate=")
	assert.Contains(t, <-background, "took=")
	require.NoError(t, s.Close())
}

// lines gets each line of a log.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestEstimate(t *testing.T) {
	const gib = 1 << 30
	for size, want := range map[int64]string{
		largeFile:    "about 1s if the system has it in memory, and up to 3s if it comes from a disk that reads 100 MiB a second",
		1000 << 20:   "about 2s if the system has it in memory, and up to 10s if it comes from a disk that reads 100 MiB a second",
		10 * gib:     "about 21s if the system has it in memory, and up to 1m43s if it comes from a disk that reads 100 MiB a second",
		1000*gib + 1: "about 34m9s if the system has it in memory, and up to 2h50m41s if it comes from a disk that reads 100 MiB a second",
	} {
		assert.Equal(t, want, estimate(size))
	}
	assert.EqualValues(t, 256<<20, largeFile, "the documentation says so")
}
