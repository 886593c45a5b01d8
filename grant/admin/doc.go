// Package admin has HTTP endpoints for the administration of accounts. They are for accounts
// of one group, by default store.AdminGroup. The package holds no rule: those are in package
// store.
//
// Requests and answers are JSON. Errors are problem details (RFC 9457), see grant.Problem,
// but for a missing or bad access token: package middleware answers that. No answer may be
// cached. Each change is an event that names who made it.
//
//	GET    /admin/accounts?prefix=&group=&limit=&after=   a page of accounts
//	POST   /admin/accounts            name, email, phone?, password?, groups?   201, the account
//	GET    /admin/accounts/{id}                           the account
//	PATCH  /admin/accounts/{id}       name?, email?, phone?, password?, disabled?   the account
//	DELETE /admin/accounts/{id}                           204
//	PUT    /admin/accounts/{id}/groups/{group}            204
//	DELETE /admin/accounts/{id}/groups/{group}            204
//	GET    /admin/accounts/{id}/sessions                  the sessions
//	DELETE /admin/accounts/{id}/sessions[/{session}]      204
//	POST   /admin/accounts/{id}/tokens    client_id?      tokens of a new session
//	POST   /admin/accounts/{id}/unblock                   204, failed logins are forgotten
//	GET    /admin/backup                                  a copy of the whole store
//
// A backup needs HTTP/1.1 or newer, also between a proxy and this server: over HTTP/1.0 a copy
// that breaks off looks like a whole one. It is refused there with status 426.
//
// An account without a password cannot log in until it gets one: by PATCH, or by its owner
// with a password reset.
package admin
