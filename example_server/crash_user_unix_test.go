//go:build unix

package main

import (
	"fmt"
	"slices"

	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// crashUser is an account as its client knows it from the answers.
type crashUser struct {
	*crashClient
	name, password string
	changes        int
	sessions       []*crashSession

	// Since the last check:
	replaced []string       // passwords
	ended    []crashSession // by revocation, password change or reuse
	again    func()         // tries again what was under way at the kill
}

type crashSession struct {
	tokenResponse
	generation int64
	proven     string // the refresh token that was exchanged for this generation
	used       bool   // a request with this access token was answered
}

func (u *crashUser) begin(a answer) {
	u.sessions = append(u.sessions, &crashSession{tokenResponse: a.tokenResponse, generation: a.generation})
}

func (u *crashUser) end(s *crashSession) {
	u.ended = append(u.ended, *s)
	u.sessions = slices.DeleteFunc(u.sessions, func(other *crashSession) bool { return other == s })
}

// outcome counts what was under way at a kill.
func (u *crashUser) outcome(done bool) {
	if done {
		u.done.Add(1)
	} else {
		u.undone.Add(1)
	}
}

func (u *crashUser) login() (answered bool) {
	a := u.driver.login(u.name, u.password)
	if a.status == 0 {
		u.again = func() { u.login() } // a session that nobody knows may be left
		return false
	}
	if u.check(a.status == 200 && a.generation == 1, "login", a) {
		u.answered.logins.Add(1)
		u.begin(a)
	}
	return true
}

func (u *crashUser) refresh(s *crashSession) (answered bool) {
	a := u.driver.refresh(s.RefreshToken)
	if a.status == 0 {
		u.again = func() { u.refreshAgain(s) }
		return false
	}
	if u.check(a.status == 200 && a.generation == s.generation+1, "refresh", a) {
		u.answered.refreshes.Add(1)
		s.rotated(s.RefreshToken, a)
	}
	return true
}

// refreshAgain: if the refresh was done, its reply was lost, and a generation is skipped.
func (u *crashUser) refreshAgain(s *crashSession) {
	a := u.driver.refresh(s.RefreshToken)
	done := a.generation == s.generation+2
	if u.check(a.status == 200 && (done || a.generation == s.generation+1), "refresh after a kill", a) {
		u.outcome(done)
		s.rotated(s.RefreshToken, a)
	}
}

func (s *crashSession) rotated(presented string, a answer) {
	*s = crashSession{tokenResponse: a.tokenResponse, generation: a.generation, proven: presented}
}

func (u *crashUser) request(s *crashSession) (answered bool) {
	a := u.driver.me(s.AccessToken)
	if a.status == 0 {
		u.again = func() { u.request(s) }
		return false
	}
	if u.check(a.status == 200, "protected request", a) {
		u.answered.requests.Add(1)
		s.used = true
	}
	return true
}

func (u *crashUser) revoke(s *crashSession) (answered bool) {
	token := s.AccessToken
	if u.random.IntN(2) == 0 {
		token = s.RefreshToken
	}
	a := u.driver.revoke(token)
	if a.status == 0 {
		u.again = func() {
			u.outcome(u.driver.me(s.AccessToken).status == 401)
			u.revoke(s)
		}
		return false
	}
	if u.check(a.status == 200, "revocation", a) {
		u.answered.revocations.Add(1)
		u.end(s)
	}
	return true
}

func (u *crashUser) changePassword(s *crashSession) (answered bool) {
	next := fmt.Sprint(middlewaretest.Password, "-", u.changes)
	u.changes++
	a := u.driver.changePassword(s.AccessToken, u.password, next)
	if a.status == 0 {
		u.again = func() { u.changePasswordAgain(s, next) }
		return false
	}
	if u.check(a.status == 200, "password change", a) {
		u.answered.passwords.Add(1)
		u.changed(next)
		u.begin(a)
	}
	return true
}

// changed notes that a password change was done: it has ended every session.
func (u *crashUser) changed(next string) {
	u.replaced = append(u.replaced, u.password)
	u.password = next
	for len(u.sessions) > 0 {
		u.end(u.sessions[0])
	}
}

// changePasswordAgain: the new password works if the change was done. Then the user, whose
// session has ended, logs in with it. Otherwise the session and the old password work.
func (u *crashUser) changePasswordAgain(s *crashSession, next string) {
	a := u.driver.login(u.name, next)
	u.outcome(a.status == 200)
	if a.status == 200 {
		u.changed(next)
		u.begin(a)
		return
	}
	u.check(a.status == 400, "login with a password that was not set", a)
	u.changePassword(s)
}

// verify checks what the answers have promised. It leaves the sessions usable.
func (u *crashUser) verify() {
	for _, old := range u.replaced {
		a := u.driver.login(u.name, old)
		u.check(a.status == 400, "login with a replaced password", a)
	}
	for _, s := range u.ended {
		u.verifyEnded(s)
	}
	for _, s := range slices.Clone(u.sessions) {
		if s.proven == "" || u.random.IntN(4) > 0 {
			u.verifyCurrent(s)
		} else {
			u.verifyProven(s)
		}
	}
	a := u.driver.login(u.name, u.password)
	if u.check(a.status == 200, "login with the password", a) {
		u.driver.revoke(a.AccessToken)
	}
	u.replaced, u.ended = nil, nil
}

func (u *crashUser) verifyEnded(s crashSession) {
	a := u.driver.me(s.AccessToken)
	u.check(a.status == 401, "request of an ended session", a)
	a = u.driver.refresh(s.RefreshToken)
	u.check(a.status == 400, "refresh of an ended session", a)
}

// verifyCurrent checks the pair of tokens that the client has.
func (u *crashUser) verifyCurrent(s *crashSession) {
	a := u.driver.me(s.AccessToken)
	u.check(a.status == 200, "request of a session", a)
	a = u.driver.refresh(s.RefreshToken)
	if u.check(a.status == 200 && a.generation == s.generation+1, "refresh of a session", a) {
		s.rotated(s.RefreshToken, a)
	}
}

// verifyProven presents the refresh token that was exchanged for the pair. That is a lost
// reply unless the pair was used, and else reuse.
func (u *crashUser) verifyProven(s *crashSession) {
	a := u.driver.refresh(s.proven)
	if s.used {
		u.check(a.status == 400, "refresh token that was exchanged, and the new pair was used", a)
		u.end(s)
		u.verifyEnded(*s)
		return
	}
	if u.check(a.status == 200 && a.generation == s.generation+1, "refresh token that was exchanged, and the new pair was not used", a) {
		u.answered.recoveries.Add(1)
		old := s.AccessToken
		s.rotated(s.proven, a)
		a = u.driver.me(old)
		u.check(a.status == 401, "request with the pair that a recovery replaced", a)
	}
}
