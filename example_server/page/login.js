// The login: its tokens, and the ways to get, refresh and end them.

import {Dropped} from './dom.js'
import {send} from './http.js'

const {base, pageClient, cookieClient, reuseInterval, lostReplyWindow} = document.body.dataset

export const limits = {reuseInterval: Number(reuseInterval), lostReplyWindow: Number(lostReplyWindow)}

// login is the one login of this page. The tokens are in memory only.
export const login = {
  number: 0,      // raised by every new session and every logout: what an older one had under way is dropped
  mode: '',       // 'page': the page has the refresh token. 'cookie': the browser has it. '': logged out
  access: null,   // a token as read returns it
  refresh: null,  // likewise; null where the browser keeps it
  previous: null, // the refresh token that was used last
  rotated: 0,     // when the session moved on last
  issued: 0,      // when the current generation was issued
  used: false,    // whether the access token was accepted somewhere, as far as this page knows
  ended: '',      // why the session has ended, if it has
  cookie: '',     // 'kept' by the browser, 'never' kept, or 'gone': refused, or no longer there
}

const watchers = []

// onChange calls a function after each change of the login.
export function onChange(watcher) {
  watchers.push(watcher)
}

function change(values) {
  Object.assign(login, values)
  for (const watcher of watchers) watcher()
}

// --- Tokens --------------------------------------------------------------------------

// read decodes a token. It checks nothing: only the server can tell whether a token is
// genuine. expires is by the clock of this machine, which may differ from the server's.
function read(token, now) {
  const [header, claims] = token.split('.', 2).map((part) => {
    const bytes = Uint8Array.from(atob(part.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes))
  })
  const lifetime = claims.exp - claims.iat
  return {raw: token, header, claims, lifetime, expires: now + lifetime * 1000}
}

// take takes over the tokens of an answer. With those of another session a new login begins.
function take(mode, body, values) {
  const now = Date.now()
  const access = read(body.access_token, now)
  const before = login.access?.claims
  const sameSession = before?.sid === access.claims.sid
  const again = sameSession && before.gen === access.claims.gen
  change({
    number: sameSession ? login.number : login.number + 1,
    mode, access, ended: '',
    refresh: body.refresh_token ? read(body.refresh_token, now) : null,
    issued: again ? login.issued : now,
    used: again && login.used,
    ...values,
  })
  if (before && before.sub !== access.claims.sub) {
    for (const listener of switches) listener()
    throw new Dropped()
  }
}

const switches = []

// onSwitch calls a function where the cookie turned out to be of another account, because
// another tab has logged in with it. What the old account had under way is dropped.
export function onSwitch(listener) {
  switches.push(listener)
}

// exchange sends a request for the login of now, and uses the answer. It throws Dropped where
// that login is over before the answer is there.
async function exchange(ask, {inLock = false, use = () => {}} = {}) {
  const {number} = login
  const check = () => {
    if (login.number !== number) throw new Dropped()
  }
  const work = async () => {
    check() // the lock can take a while
    const answer = await ask()
    check()
    await use(answer)
    return answer
  }
  return inLock ? locked(work) : work()
}

// locked does work once at a time in all tabs together. Every request that sets or clears the
// cookie belongs in here: login, refresh, logout, change of the password, end of the session,
// removal of the account. Otherwise one answer can overtake another, and the browser is left
// with the cookie of the wrong one.
function locked(work) {
  return navigator.locks ? navigator.locks.request(note, work) : work() // no locks on plain http
}

const none = {mode: '', access: null, refresh: null, previous: null, used: false, ended: '', cookie: ''}

// --- Logging in and out --------------------------------------------------------------

export function logIn(keep, username, password) {
  const inCookie = keep === 'cookie'
  const form = {grant_type: 'password', client_id: inCookie ? cookieClient : pageClient, username, password}
  return exchange(() => send('POST', base + '/token', {form}), {
    inLock: inCookie,
    use: async (answer) => {
      if (!answer.ok) return
      take(keep, answer.body, {previous: null, cookie: inCookie ? 'kept' : '', rotated: Date.now()})
      if (!inCookie) return
      // A refresh shows whether the browser has kept the cookie.
      const refreshed = await exchange(askByCookie, {use: useCookie})
      if (refreshed.body?.error === 'invalid_grant') change({cookie: 'never'})
      else remember('kept')
    },
  })
}

// restore logs in by the cookie, after a reload. It returns null if there is none.
export async function restore() {
  if (!remembered()) return null
  return refreshByCookie()
}

// logOut ends the session, and forgets it where that has worked or it had ended anyway.
export function logOut() {
  const inCookie = login.mode === 'cookie'
  const form = {client_id: inCookie ? cookieClient : pageClient, token: login.access.raw}
  return exchange(() => send('POST', base + '/revoke', {form}), {
    inLock: inCookie,
    use: (answer) => {
      if (answer.ok || login.ended) forget()
    },
  })
}

// forget logs out in this page alone: the session has ended, or is none of its business.
export function forget() {
  if (login.mode === 'cookie' && login.cookie !== 'never') remember('')
  change({...none, number: login.number + 1})
}

// The cookie cannot be seen from here. So the page notes what is known of it, for a reload and
// for other tabs: 'kept', 'gone', or no note after a logout. It keeps nothing else, and the note
// is no secret.
const note = 'oauthsv cookie of ' + cookieClient

function remember(state) {
  try {
    if (state) localStorage.setItem(note, state)
    else localStorage.removeItem(note)
  } catch {
    // Without storage a reload asks for the password.
  }
}

// remembered reports whether there should be a cookie.
export function remembered() {
  try {
    return Boolean(cookieClient) && localStorage.getItem(note) === 'kept'
  } catch {
    return false
  }
}

// onElsewhere calls a function when another tab has logged out, or found that the cookie is
// gone. Tabs share the cookie.
export function onElsewhere({loggedOut, gone}) {
  addEventListener('storage', ({key, newValue}) => {
    if (login.mode !== 'cookie' || (key !== note && key !== null)) return
    if (newValue === null) {
      loggedOut()
    } else if (newValue === 'gone' && login.cookie === 'kept') {
      change({cookie: 'gone'})
      gone()
    }
  })
}

// --- Refreshing ----------------------------------------------------------------------

export function refresh() {
  return login.mode === 'cookie' ? refreshByCookie() : refreshByToken()
}

function refreshByToken() {
  const presented = login.refresh
  return exchange(() => present(presented), {
    use: (answer) => {
      if (answer.ok) take('page', answer.body, {previous: presented, rotated: Date.now()})
      else if (answer.body?.error === 'invalid_grant') change({ended: answer.message})
    },
  })
}

// presentOld presents the refresh token that was used last once more. What the server made
// of it shows in outcome: 'replayed', 'recovered' or 'refused'.
export function presentOld() {
  const before = login.access.claims
  return exchange(() => present(login.previous), {
    use: (answer) => {
      if (answer.ok) {
        take('page', answer.body)
        answer.outcome = login.access.claims.gen === before.gen ? 'replayed' : 'recovered'
      } else if (answer.body?.error === 'invalid_grant') {
        answer.outcome = 'refused'
        change({ended: answer.message})
      }
    },
  })
}

function present(token) {
  return send('POST', base + '/token', {form: {grant_type: 'refresh_token', client_id: pageClient, refresh_token: token.raw}})
}

const askByCookie = () => send('POST', base + '/token', {form: {grant_type: 'refresh_token', client_id: cookieClient}})

// useCookie takes over what a refresh by the cookie has brought. A refusal says nothing of the
// access token: the cookie may be gone, or of another server on this host.
function useCookie(answer) {
  if (answer.ok) {
    remember('kept')
    take('cookie', answer.body, {rotated: Date.now(), previous: null, cookie: 'kept'})
  } else if (answer.body?.error === 'invalid_grant') {
    remember('gone')
    if (login.mode) change({cookie: 'gone'})
  }
}

const refreshByCookie = () => exchange(askByCookie, {inLock: true, use: useCookie})

// --- Using the access token ----------------------------------------------------------

// call sends a request with the access token. Where the browser keeps the refresh token, a
// token that has run out is replaced on the way, as a browser app does it. The request is
// repeated only for the same account: see take.
export async function call(method, path, options) {
  const {answer, sent} = await ask(method, path, options)
  if (!refused(answer)) return answer
  if (login.cookie === 'kept') {
    const refreshed = await refreshByCookie()
    if (refreshed.ok) return (await ask(method, path, options)).answer
    if (login.cookie === 'kept') { // an outage: nothing is known of the session
      answer.message = 'The server has refused the access token, and it could not be replaced. ' + refreshed.message
      return answer
    }
  }
  if (sent !== login.access) return answer // there is a newer token by now
  // The lifetime is in whole seconds, so the end can come a little earlier.
  const expired = Date.now() >= sent.expires - 2000
  if (!expired) change({ended: answer.message})
  else if (login.mode === 'page') answer.message = 'The access token has expired. Refresh to get a new one.'
  else answer.message = 'The access token has expired, and there is no cookie to get a new one with. Log out, and log in again.'
  return answer
}

async function ask(method, path, options) {
  if (!login.access) throw new Dropped()
  let sent = null
  const answer = await exchange(() => {
    sent = login.access
    return send(method, path, {...options, bearer: sent.raw})
  }, {
    inLock: login.mode === 'cookie' && method !== 'GET' && /^\/me(\/|$)/.test(path), // some of these set or clear the cookie
    use: (answer) => {
      if (accepted(answer) && sent === login.access && !login.used) change({used: true})
    },
  })
  return {answer, sent}
}

// refused reports whether the server has refused the access token. Another 401 is of
// introspection, for an account that may not introspect.
function refused(answer) {
  return answer.status === 401 && answer.body?.error === 'invalid_token'
}

// accepted reports whether an answer shows that the server has accepted the access token. Any
// refusal for another reason does, because the token is checked first. An outage shows nothing,
// and neither does an answer without JSON: it is not of an endpoint.
function accepted(answer) {
  return answer.ok || (answer.status >= 400 && answer.status < 500 && answer.body !== null && !refused(answer))
}

// changePassword ends all sessions. The answer has the tokens of a new one.
export async function changePassword(json) {
  const answer = await call('PUT', '/me/password', {json})
  if (answer.ok) take(login.mode, answer.body, {previous: null, rotated: Date.now(), used: false})
  return answer
}

export const protocol = {introspect: base + '/introspect'}
