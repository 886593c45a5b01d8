package selfservice_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

func TestRegistration(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		got := k.call("POST", "/accounts", "", object{"name": "Ada", "email": "grace@example.org", "phone": "+1 2", "later": 1})
		assert.Equal(t, 202, got.status, "the name is taken, and the start does not tell")
		assert.Equal(t, "{}", got.body)
		assert.Empty(t, k.takeEvents())
		code := k.code(t, store.MailRegistration)

		confirm := object{"code": code, "password": newPassword}
		k.assertProblem(k.call("POST", "/accounts/confirm", "", confirm), 409, grant.ProblemTaken, "name")
		confirm["password"], confirm["name"] = "short", "grace"
		got = k.call("POST", "/accounts/confirm", "", confirm)
		k.assertProblem(got, 422, grant.ProblemRefusedValue, "password")
		assert.Equal(t, "too_short", got.json(t)["reason"])
		assert.Empty(t, k.takeEvents())
		confirm["password"] = newPassword
		got = k.call("POST", "/accounts/confirm", "", confirm)
		require.Equal(t, 201, got.status, got.body)
		account, err := k.Accounts.FindByName(t.Context(), "grace")
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"account_id": account.ID.Hex()}, got.json(t))
		assert.Equal(t, "+1 2", account.Phone)
		k.onlyEvent(grant.EventAccountCreated, account.ID)
		assert.Equal(t, 200, k.logIn("grace", newPassword))
		k.assertProblem(k.call("POST", "/accounts/confirm", "", confirm), 400, grant.ProblemCode, "code")
	})
}

func TestPasswordReset(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		token := k.bearer(k.account)
		got := k.call("POST", "/password-reset", "", object{"email": "ADA@example.org"})
		assert.Equal(t, []any{202, "{}"}, []any{got.status, got.body})
		code := k.code(t, store.MailPasswordReset)
		k.assertProblem(k.call("POST", "/password-reset/confirm", "", object{"code": code, "password": "passwordpassword"}),
			422, grant.ProblemRefusedValue, "password")
		assert.Empty(t, k.takeEvents())
		got = k.call("POST", "/password-reset/confirm", "", object{"code": strings.ToLower(code), "password": newPassword})
		assert.Equal(t, []any{204, ""}, []any{got.status, got.body})
		k.onlyEvent(grant.EventPasswordReset, k.account.ID)
		assert.Equal(t, 401, k.send("GET", "/me", "", "Authorization", "Bearer "+token).status, "every session has ended")
		assert.Equal(t, 200, k.logIn("ada", newPassword))
		assert.Equal(t, 400, k.logIn("ada", password))
		k.assertProblem(k.call("POST", "/password-reset/confirm", "", object{"code": code, "password": newPassword}), 400, grant.ProblemCode, "code")
	})
}

func TestPasswordChangeAnswersWithTokens(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		tokens, err := k.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: "app"})
		require.NoError(t, err)
		token := tokens.AccessToken
		k.takeEvents()
		body := object{"current_password": "wrong", "new_password": newPassword}
		k.assertProblem(k.call("PUT", "/me/password", token, body), 403, grant.ProblemWrongPassword, "current_password")
		failed := k.onlyEvent(grant.EventPasswordCheckFailed, k.account.ID)
		assert.Equal(t, []any{"app", "wrong password"}, []any{failed.ClientID, failed.Reason})
		body["current_password"] = password
		got := k.call("PUT", "/me/password", token, body)
		require.Equal(t, 200, got.status, got.body)
		assert.Equal(t, "no-cache", got.header.Get("Pragma"))
		answer := got.json(t)
		assert.Equal(t, "Bearer", answer["token_type"])
		assert.EqualValues(t, 900, answer["expires_in"])
		assert.NotEmpty(t, answer["refresh_token"])
		k.onlyEvent(grant.EventPasswordChanged, k.account.ID)
		assert.Equal(t, 401, k.send("GET", "/me", "", "Authorization", "Bearer "+token).status)
		fresh := answer["access_token"].(string)
		sessions := k.call("GET", "/me/sessions", fresh, nil).json(t)["sessions"].([]any)
		require.Len(t, sessions, 1)
		session := sessions[0].(map[string]any)
		assert.Equal(t, []any{true, "127.0.0.1", "app"}, []any{session["current"], session["address"], session["client_id"]})
	})
}

func TestEmailChange(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		token, other := k.bearer(k.account), k.bearer(k.Account("grace"))
		got := k.call("PUT", "/me/email", token, object{"email": "new@example.org", "current_password": password})
		assert.Equal(t, []any{202, "{}"}, []any{got.status, got.body})
		assert.Empty(t, k.takeEvents())
		code := k.code(t, store.MailEmailChange)
		k.assertProblem(k.call("POST", "/me/email/confirm", other, object{"code": code}), 400, grant.ProblemCode, "code")
		got = k.call("POST", "/me/email/confirm", token, object{"code": code})
		assert.Equal(t, []any{204, ""}, []any{got.status, got.body})
		k.onlyEvent(grant.EventEmailChanged, k.account.ID)
		assert.Equal(t, "new@example.org", k.call("GET", "/me", token, nil).json(t)["email"])
		mails := k.deliver(t)
		require.Len(t, mails, 1)
		assert.Equal(t, []any{store.MailEmailChanged, "ada@example.org"}, []any{mails[0].Kind, mails[0].To})

		require.Equal(t, 202, k.call("PUT", "/me/email", token, object{"email": "late@example.org", "current_password": password}).status)
		code = k.code(t, store.MailEmailChange)
		_, err := k.Accounts.Create(t.Context(), store.NewAccount{Name: "late", Email: "late@example.org", NoPassword: true})
		require.NoError(t, err)
		k.assertProblem(k.call("POST", "/me/email/confirm", token, object{"code": code}), 409, grant.ProblemTaken, "email")
		k.assertProblem(k.call("PUT", "/me/email", token, object{"email": "x@example.org", "current_password": "wrong"}),
			403, grant.ProblemWrongPassword, "current_password")
	})
}

func TestAccountIsShownAndChanged(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	k.Account("grace")
	token := k.bearer(k.account)
	want := map[string]any{"account_id": k.account.ID.Hex(), "name": "ada", "email": "ada@example.org", "groups": []any{}}
	for _, test := range []struct {
		body   string
		reason string
		change func()
	}{
		{`{"phone":"+1 2"}`, "phone", func() { want["phone"] = "+1 2" }},
		{`{"name":"Lovelace","phone":null,"later":{}}`, "name", func() { want["name"] = "lovelace" }},
		{`{"name":null}`, "", func() {}},
		{`{}`, "", func() {}},
		{`{"phone":"","name":"ada"}`, "name, phone", func() { delete(want, "phone"); want["name"] = "ada" }},
	} {
		test.change()
		got := k.send("PATCH", "/me", test.body, "Content-Type", "application/json; charset=utf-8", "Authorization", "Bearer "+token)
		require.Equal(t, 200, got.status, got.body)
		assert.Equal(t, want, got.json(t))
		assert.Equal(t, test.reason, k.onlyEvent(grant.EventAccountChanged, k.account.ID).Reason)
		assert.Equal(t, want, k.call("GET", "/me", token, nil).json(t))
	}
	k.assertProblem(k.call("PATCH", "/me", token, object{"name": "GRACE"}), 409, grant.ProblemTaken, "name")
	k.assertProblem(k.call("PATCH", "/me", token, object{"name": ""}), 422, grant.ProblemRefusedValue, "name")
	k.assertProblem(k.call("PATCH", "/me", token, object{"phone": "x"}), 422, grant.ProblemRefusedValue, "phone")
	assert.Empty(t, k.takeEvents())
}

func TestAccountRemovesItself(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		token := k.bearer(k.account)
		k.assertProblem(k.call("DELETE", "/me", token, object{"current_password": ""}), 403, grant.ProblemWrongPassword, "current_password")
		k.onlyEvent(grant.EventPasswordCheckFailed, k.account.ID)
		assert.Equal(t, 204, k.call("DELETE", "/me", token, object{"current_password": password}).status)
		k.onlyEvent(grant.EventAccountRemoved, k.account.ID)
		assert.Equal(t, 401, k.send("GET", "/me", "", "Authorization", "Bearer "+token).status)
		assert.Equal(t, 400, k.logIn("ada", password))
	})
}

func TestSessionsEnd(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	token, second, third := k.bearer(k.account), k.Token(k.account), k.bearer(k.account)
	stranger := k.Token(k.Account("grace"))
	k.takeEvents()
	assert.Len(t, k.call("GET", "/me/sessions", token, nil).json(t)["sessions"], 3)
	assert.Equal(t, 204, k.call("DELETE", "/me/sessions/"+second.SessionID, token, nil).status)
	assert.Equal(t, second.SessionID, k.onlyEvent(grant.EventSessionRevoked, k.account.ID).SessionID)
	for _, id := range []string{second.SessionID, stranger.SessionID, "x"} {
		k.assertProblem(k.call("DELETE", "/me/sessions/"+id, token, nil), 404, grant.ProblemNotFound, "")
	}
	for _, wrong := range []string{"others=false", "others=", "others=true&others=true", "others=true&others=false"} {
		k.assertProblem(k.call("DELETE", "/me/sessions?"+wrong, token, nil), 400, grant.ProblemMalformed, "others")
	}
	assert.Equal(t, 204, k.call("DELETE", "/me/sessions?others=true", token, nil).status)
	k.onlyEvent(grant.EventSessionRevoked, k.account.ID)
	assert.Equal(t, 401, k.send("GET", "/me", "", "Authorization", "Bearer "+third).status)
	assert.Equal(t, 204, k.call("DELETE", "/me/sessions", token, nil).status)
	assert.Equal(t, 401, k.send("GET", "/me", "", "Authorization", "Bearer "+token).status)
	assert.Equal(t, 200, k.send("GET", "/me", "", "Authorization", "Bearer "+stranger.AccessToken).status)
}
