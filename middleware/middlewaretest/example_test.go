package middlewaretest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// In a test, t is its *testing.T.
func Example() {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	handler := kit.Auth.RequireGroup("editors")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", middleware.MustAccount(r.Context()).Name)
	}))

	byEditor := kit.Request("GET", "/", kit.Account("ada", "editors"))
	byOther := kit.Request("GET", "/", kit.Account("grace"))
	for _, request := range []*http.Request{byEditor, byOther} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		fmt.Print(recorder.Code, " ", recorder.Body)
	}

	kit.Sleep(time.Hour)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, byEditor)
	fmt.Println(recorder.Code, "an hour later")
	// Output:
	// 200 hello ada
	// 403 {"error":"insufficient_scope","error_description":"the account may not do this"}
	// 401 an hour later
}
