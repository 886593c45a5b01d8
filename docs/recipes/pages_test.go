// Package recipes_test compares the pages in docs with the programs below.
package recipes_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestPagesShowThesePrograms: the code on a page is the code that is compiled and run
// here, whole lines of one file.
func TestPagesShowThesePrograms(t *testing.T) {
	for page, directory := range map[string]string{
		"routers.md": "routers", "resource-server.md": "resourceserver", "browser-app.md": "browserapp",
		"streams.md": "streams", "own-handlers-tests.md": "ownhandlers",
	} {
		text, err := os.ReadFile(filepath.Join("..", page))
		require.NoError(t, err)
		names, err := filepath.Glob(filepath.Join(directory, "*.go"))
		require.NoError(t, err)
		var files []string
		for _, name := range names {
			source, err := os.ReadFile(name)
			require.NoError(t, err)
			files = append(files, "\n"+string(source))
		}
		blocks := goBlock.FindAllStringSubmatch(string(text), -1)
		assert.NotEmpty(t, blocks, page)
		assert.Equal(t, strings.Count(string(text), "```go"), len(blocks), "%s has a block of Go that this test does not read", page)
		for _, block := range blocks {
			shown := false
			for _, file := range files {
				shown = shown || strings.Contains(file, "\n"+block[1])
			}
			assert.True(t, shown, "%s shows what no file of docs/recipes/%s has:\n%s", page, directory, block[1])
		}
		assert.Contains(t, string(text), "docs/recipes/"+directory, "the page says where its code is")
	}
}
