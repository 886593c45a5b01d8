// What the tokens say, and what the server would do with them.

import {find, make, facts, moment} from './dom.js'
import {count} from './http.js'
import {limits, login} from './login.js'

const meaning = {
  typ: 'type', alg: 'algorithm', kid: 'key',
  iss: 'issuer', aud: 'audience', sub: 'account', client_id: 'client', sid: 'session', gen: 'generation',
  iat: 'issued', exp: 'expires', jti: 'own id',
}

// clearTokens leaves nothing of a login in this part of the page.
export function clearTokens() {
  for (const id of ['generation', 'story', 'access-token', 'refresh-token']) find(id).replaceChildren()
}

// showTokens shows the tokens after a change.
export function showTokens() {
  find('generation').textContent = login.access.claims.gen
  find('access-token').replaceChildren(...describe('Access token', login.access, 'access'))
  find('refresh-token').replaceChildren(...(login.refresh ? describe('Refresh token', login.refresh, 'refresh') : describeCookie()))
  find('present-old').hidden = !login.previous
  find('story-box').className = 'story' + (login.ended ? ' bad' : '')
  showTime()
}

function describe(title, token, name) {
  const raw = make('details', {}, make('summary', {textContent: 'The token itself'}), make('pre', {className: 'raw', id: name + '-raw'}, ...parts(token.raw)))
  return [
    make('h3', {textContent: title}),
    make('p', {className: 'left', id: name + '-left'}),
    make('progress', {id: name + '-bar', max: token.lifetime, 'aria-label': 'Time left of the ' + title.toLowerCase()}),
    make('h4', {textContent: 'Header'}), members(token.header),
    make('h4', {textContent: 'Claims'}), members(token.claims),
    raw,
  ]
}

function members(values) {
  const list = make('dl', {className: 'claims'})
  facts(list, Object.entries(values).map(([name, value]) => [
    make('span', {}, make('code', {textContent: name}), make('span', {className: 'quiet', textContent: ' ' + (meaning[name] ?? '')})),
    make('span', {className: 'mono'}, name === 'iat' || name === 'exp' ? moment(value * 1000) : show(value)),
  ]))
  return list
}

const show = (value) => (typeof value === 'string' ? value : JSON.stringify(value))

// parts are header, claims and signature, each in a colour of its own.
function parts(raw) {
  return raw.split('.').flatMap((part, i) => [i ? '.' : null, make('span', {className: 'part' + i, textContent: part})]).filter(Boolean)
}

const cookieNotes = {
  kept: 'It is in a cookie that no script reads. No answer holds it, so this page has never seen it. The browser sends it along when the page refreshes.',
  never: 'The browser did not keep the cookie. It is for https, and some browsers, such as Safari, do not keep it on http://localhost either. You stay logged in until the access token expires or the page is reloaded.',
  gone: 'The cookie is gone, or the server has refused it. Either the session has ended, or another login of this host has replaced the cookie: cookies do not know ports.',
}

function describeCookie() {
  const seen = document.cookie || 'nothing'
  return [
    make('h3', {textContent: 'Refresh token'}),
    make('p', {id: 'cookie-note', className: login.cookie === 'kept' ? '' : 'note bad', textContent: cookieNotes[login.cookie]}),
    make('p', {}, 'What scripts can read of the cookies here: ', make('code', {id: 'cookie-seen', textContent: seen})),
  ]
}

// showTime shows what changes with time alone.
export function showTime() {
  left('access', login.access)
  if (login.refresh) left('refresh', login.refresh)
  const text = story()
  if (find('story').textContent !== text) find('story').textContent = text
}

function left(name, token) {
  const seconds = Math.max(0, Math.ceil((token.expires - Date.now()) / 1000))
  find(name + '-left').textContent = login.ended ? 'Refused: its session has ended' : seconds ? 'Good for ' + duration(seconds) : 'Expired'
  find(name + '-bar').value = login.ended ? 0 : seconds
}

function duration(seconds) {
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit))
  if (days) return count(days, 'day') + (hours % 24 ? ` ${hours % 24} h` : '')
  if (hours) return `${hours} h ${minutes % 60} min`
  if (minutes) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`
  return `${seconds} s`
}

// story says what the server would do with the refresh tokens now.
function story() {
  const {access, previous, mode} = login
  if (login.ended) return 'This session has ended. Its tokens are refused from this moment on, wherever they are used.'
  if (mode === 'cookie') {
    return login.cookie === 'kept'
      ? 'The page keeps the access token in memory only. A reload loses it, and the cookie gets a new one.'
      : 'The page keeps the access token in memory only, and there is no cookie to get a new one with. Unless the session has ended, the token works until it expires.'
  }
  if (!previous) return 'The session is as the login has made it. Refresh, and the page keeps the old refresh token, so that you can present it again.'
  const old = `the refresh token of generation ${previous.claims.gen}`
  const seconds = (since, limit) => Math.ceil(limit - (Date.now() - since) / 1000)
  const reusable = seconds(login.issued, limits.reuseInterval)
  if (reusable > 0) {
    return `For ${reusable} s the server still takes ${old} as well, because two tabs may refresh at once. Its answer would be of generation ${access.claims.gen}, too.`
  }
  if (!login.used && seconds(login.rotated, limits.lostReplyWindow) > 0) {
    return `As far as this page knows, nobody has used the new access token yet. Then the server would take its reply for lost and still take ${old}, with an answer of generation ${access.claims.gen + 1}.`
  }
  return `Whoever presents ${old} now is refused, and the session ends: ${login.used ? 'its successor was used, so the token may be stolen' : 'it comes too late to be a lost reply'}.`
}
