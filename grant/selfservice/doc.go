// Package selfservice has HTTP endpoints for the life of an account: registration, password
// reset, changes by its owner, and its sessions. It holds no rule: those are in package
// store.
//
// Requests and answers are JSON. Errors are problem details (RFC 9457), see grant.Problem,
// but for a missing or bad access token: package middleware answers that. No answer may be
// cached.
//
//	POST   /accounts                 name, email, phone?   202, a code goes to the e-mail
//	POST   /accounts/confirm         code, password, name? 201, the account_id
//	POST   /password-reset           email                 202, a code goes to the account's e-mail
//	POST   /password-reset/confirm   code, password        204, every session has ended
//	GET    /me                                             the account
//	PATCH  /me                       name?, phone?         the account
//	DELETE /me                       current_password      204
//	PUT    /me/password              current_password, new_password   tokens of a new session
//	PUT    /me/email                 email, current_password          202, a code goes to the new address
//	POST   /me/email/confirm         code                  204
//	GET    /me/sessions                                    the sessions
//	DELETE /me/sessions[?others=true]                      204
//	DELETE /me/sessions/{id}                               204
//
// A client with a grant.RefreshCookie gets the refresh token of PUT /me/password in its
// cookie. The cookie is cleared when the account is removed or its current session ends. A
// request of that client for one of these from another origin is refused with 403.
//
// Those below /me are for callers with an access token. Codes go by mail, see
// store.Config.Mailer. Without a Mailer the endpoints that need one answer 501.
package selfservice
