// The login: its tokens, and the ways to get, refresh and end them.

import {send} from './http.js'

const {base, pageClient, cookieClient, reuseInterval, lostReplyWindow} = document.body.dataset

export const limits = {reuseInterval: Number(reuseInterval), lostReplyWindow: Number(lostReplyWindow)}

// login is the one login of this page. The tokens are in memory only.
export const login = {
  mode: '',       // 'page': the page has the refresh token. 'cookie': the browser has it. '': logged out
  access: null,   // a token as read returns it
  refresh: null,  // likewise; null where the browser keeps it
  previous: null, // the refresh token that was used last
  rotated: 0,     // when the session moved on last
  issued: 0,      // when the current generation was issued
  used: false,    // whether the access token was accepted somewhere
  ended: '',      // why the session has ended, if it has
  kept: true,     // whether the browser has kept the cookie
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

// take takes over the tokens of an answer.
function take(mode, body, values) {
  const now = Date.now()
  const access = read(body.access_token, now)
  const again = login.access?.claims.sid === access.claims.sid && login.access.claims.gen === access.claims.gen
  change({
    mode, access, ended: '',
    refresh: body.refresh_token ? read(body.refresh_token, now) : null,
    issued: again ? login.issued : now,
    used: again && login.used,
    ...values,
  })
}

const none = {mode: '', access: null, refresh: null, previous: null, used: false, ended: '', kept: true}

// --- Logging in and out --------------------------------------------------------------

export async function logIn(keep, username, password) {
  const client = keep === 'cookie' ? cookieClient : pageClient
  const answer = await send('POST', base + '/token', {form: {grant_type: 'password', client_id: client, username, password}})
  if (!answer.ok) return answer
  take(keep, answer.body, {previous: null, kept: true, rotated: Date.now()})
  if (keep === 'cookie') {
    // A refresh shows whether the browser has kept the cookie.
    const refreshed = await refreshByCookie()
    if (refreshed.body?.error === 'invalid_grant') change({kept: false, ended: ''})
    remember(login.kept)
  }
  return answer
}

// restore logs in by the cookie, after a reload. It returns null if there is none.
export async function restore() {
  if (!remembered()) return null
  return refreshByCookie()
}

// logOut ends the session. After a success, forget it.
export async function logOut() {
  const inCookie = login.mode === 'cookie'
  const answer = await send('POST', base + '/revoke', {
    form: {client_id: inCookie ? cookieClient : pageClient, token: login.access.raw},
  })
  return answer
}

// forget logs out in this page alone: the session has ended, or is none of its business.
export function forget() {
  if (login.mode === 'cookie') remember(false)
  change(none)
}

// The cookie cannot be seen from here. So the page notes that there should be one: this
// note is all that it keeps, and it is no secret.
const note = 'oauthsv cookie of ' + cookieClient

function remember(kept) {
  try {
    if (kept) localStorage.setItem(note, 'yes')
    else localStorage.removeItem(note)
  } catch {
    // Without storage a reload asks for the password.
  }
}

// remembered reports whether there should be a cookie.
export function remembered() {
  try {
    return Boolean(cookieClient) && localStorage.getItem(note) !== null
  } catch {
    return false
  }
}

// onLogoutElsewhere calls a function when another tab has logged out. Tabs share the cookie.
export function onLogoutElsewhere(listener) {
  addEventListener('storage', (event) => {
    const gone = event.key === note ? event.newValue === null : event.key === null
    if (gone && login.mode === 'cookie') listener()
  })
}

// --- Refreshing ----------------------------------------------------------------------

export function refresh() {
  return login.mode === 'cookie' ? refreshByCookie() : refreshByToken()
}

async function refreshByToken() {
  const presented = login.refresh
  const answer = await present(presented)
  if (answer.ok) take('page', answer.body, {previous: presented, rotated: Date.now()})
  else if (answer.body?.error === 'invalid_grant') change({ended: answer.message})
  return answer
}

// presentOld presents the refresh token that was used last once more. What the server made
// of it shows in outcome: 'replayed', 'recovered' or 'reused'.
export async function presentOld() {
  const before = login.access.claims
  const answer = await present(login.previous)
  if (answer.ok) {
    take('page', answer.body)
    answer.outcome = login.access.claims.gen === before.gen ? 'replayed' : 'recovered'
  } else if (answer.body?.error === 'invalid_grant') {
    answer.outcome = 'reused'
    change({ended: answer.message})
  }
  return answer
}

function present(token) {
  return send('POST', base + '/token', {form: {grant_type: 'refresh_token', client_id: pageClient, refresh_token: token.raw}})
}

// refreshByCookie runs once at a time in all tabs together, so that no answer overtakes
// another.
async function refreshByCookie() {
  const ask = () => send('POST', base + '/token', {form: {grant_type: 'refresh_token', client_id: cookieClient}})
  const answer = await (navigator.locks ? navigator.locks.request(note, ask) : ask()) // no locks on plain http
  if (answer.ok) {
    take('cookie', answer.body, {rotated: Date.now(), previous: null})
    remember(true)
  } else if (answer.body?.error === 'invalid_grant') {
    remember(false)
    if (login.mode) change({ended: answer.message})
  }
  return answer
}

// --- Using the access token ----------------------------------------------------------

// call sends a request with the access token. Where the browser keeps the refresh token, a
// token that has run out is replaced on the way, as a browser app does it.
export async function call(method, path, options = {}) {
  let sent = login.access
  let answer = await send(method, path, {...options, bearer: sent.raw})
  if (refused(answer) && login.mode === 'cookie' && login.kept && (await refreshByCookie()).ok) {
    sent = login.access
    answer = await send(method, path, {...options, bearer: sent.raw})
  }
  if (refused(answer) && sent === login.access) {
    const expired = Date.now() >= sent.expires
    if (expired && login.mode === 'page') answer.message = 'The access token has expired. Refresh to get a new one.'
    else change({ended: answer.message})
  } else if ((answer.ok || answer.status === 403) && sent === login.access && !login.used) {
    change({used: true})
  }
  return answer
}

function refused(answer) {
  return answer.status === 401 && answer.body?.error === 'invalid_token'
}

// changePassword ends all sessions. The answer has the tokens of a new one.
export async function changePassword(json) {
  const answer = await call('PUT', '/me/password', {json})
  if (answer.ok) take(login.mode, answer.body, {previous: null, rotated: Date.now(), used: false})
  return answer
}

export const protocol = {introspect: base + '/introspect'}
