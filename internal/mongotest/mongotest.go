// Package mongotest gives tests a database on a real server of the MongoDB
// protocol, and runs tests over every backend there is.
package mongotest

import (
	"bufio"
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

const (
	// uriVariable names a server that runs already.
	uriVariable = "OAUTHSV_TEST_MONGODB_URI"
	// binaryVariable names the program bin/jongodb of the npm package
	// @jongodb/memory-server-bin-linux-x64-gnu, which is started for each test.
	binaryVariable = "OAUTHSV_TEST_JONGODB"
	// requireVariable makes a failure of what would be a skip.
	requireVariable = "OAUTHSV_REQUIRE_MONGODB"
)

const howTo = "to run this test, set " + uriVariable + " to the connection string of a MongoDB server, such as mongodb://localhost:27017, or " +
	binaryVariable + " to the file bin/jongodb of the npm package @jongodb/memory-server-bin-linux-x64-gnu"

// URI returns a connection string with a new database, which is dropped at the end
// of the test. Where the environment names no server the test is skipped.
func URI(t testing.TB) string {
	t.Helper()
	server := os.Getenv(uriVariable)
	if server == "" {
		server = start(t)
	}
	location, err := url.Parse(server)
	require.NoError(t, err, uriVariable)
	name := "oauthsv_test_" + strings.ToLower(rand.Text())
	location.Path = "/" + name
	uri := location.String()
	t.Cleanup(func() { drop(uri, name) })
	return uri
}

func start(t testing.TB) string {
	t.Helper()
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		if os.Getenv(requireVariable) != "" {
			t.Fatal(howTo)
		}
		t.Skip(howTo)
	}
	command := exec.Command(binary, "--host=127.0.0.1", "--port=0")
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if uri, found := strings.CutPrefix(lines.Text(), "JONGODB_URI="); found {
			go func() { // what else it prints must not block it
				for lines.Scan() {
				}
			}()
			return uri + "?directConnection=true"
		}
	}
	t.Fatal("the server of the tests ended before it was ready")
	return ""
}

// drop leaves a server that is not ours as it was found. One that is gone, because
// the test has ended it, is none of our business.
func drop(uri, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(uri).SetServerSelectionTimeout(time.Second))
	if err != nil {
		return
	}
	_ = client.Database(name).Drop(ctx)
	_ = client.Disconnect(ctx)
}
