// The page: it shows the login, and offers what can be done with it.

import {backToLogin, clearAccount, loadAccount, loadSessions} from './account.js'
import {hideAdmin} from './admin.js'
import {find, make, onPress, onSubmit, say, unlessDropped} from './dom.js'
import {onSend} from './http.js'
import {call, logIn, login, logOut, onChange, onElsewhere, onSwitch, presentOld, protocol, refresh, remembered, restore} from './login.js'
import {clearTokens, showTokens, showTime} from './tokens.js'

// --- What was sent -------------------------------------------------------------------

// What a login that is over had sent is nobody's business any more.
onSend(() => {
  const {number} = login
  return (answer) => {
    if (number === login.number) write(answer)
  }
})

function write({method, path, grant, status, message}) {
  const entry = make('li', {},
    make('p', {}, make('span', {className: 'mono', textContent: `${method} ${path}`}), ' ', chip(status)),
    grant ? make('p', {className: 'quiet', textContent: 'grant ' + grant}) : null,
    message ? make('p', {className: 'quiet', textContent: message}) : null)
  find('journal').prepend(entry)
  find('journal-box').hidden = false
  while (find('journal').children.length > 30) find('journal').lastChild.remove()
}

function chip(status) {
  return make('span', {className: 'chip ' + kindOf(status), textContent: status || 'no answer'})
}

const kindOf = (status) => (status >= 200 && status < 300 ? 'good' : 'bad')

// --- Logging in and out --------------------------------------------------------------

onSubmit('login', async ({keep, username, password}) => {
  const missing = Object.entries({username, password}).filter(([, value]) => !value).map(([name]) => name)
  if (missing.length) return {ok: false, message: 'Type your name or e-mail, and your password.', fields: missing}
  const answer = await logIn(keep, username, password)
  if (answer.body?.error === 'invalid_grant') answer.fields = ['username', 'password']
  return answer
}, async () => {
  if (login.cookie === 'never') say('You are logged in, but the browser did not keep the cookie.', 'bad')
  else if (login.mode === 'cookie') say('You are logged in. A refresh right after that has shown that the browser keeps the cookie.', 'good')
  else say('You are logged in.', 'good')
  await loadAll()
  find('tokens-heading').focus()
})

async function loadAll() {
  await loadAccount()
  await loadSessions()
}

onPress(find('logout'), async () => {
  const {ended} = login
  const answer = await logOut()
  if (ended) backToLogin('Log in again to start another session.')
  else if (answer.ok) backToLogin('You are logged out: the session has ended, and its tokens are refused from now on.', 'good')
  else say(answer.message, 'bad')
})

onElsewhere({
  loggedOut: () => backToLogin('You have logged out in another tab.'),
  gone: () => say('Another tab has found that the cookie is gone, or that the server refuses it.', 'bad'),
})

onSwitch(() => unlessDropped(async () => {
  clear()
  await loadAll()
  say('Another tab has logged in with another account, and tabs share the cookie. This is that account now, and your request was not sent for it.')
  find('tokens-heading').focus()
}))

// --- The tokens ----------------------------------------------------------------------

onPress(find('refresh'), async () => {
  const answer = await refresh()
  display(answer.ok ? null : answer)
  if (answer.ok) say(`Refreshed: the session is in generation ${login.access.claims.gen}, with a new pair of tokens.`, 'good')
  else say(answer.message, 'bad')
})

onPress(find('present-old'), async () => {
  const answer = await presentOld()
  display(answer.ok ? null : answer)
  const generation = login.access.claims.gen
  switch (answer.outcome) {
    case 'replayed':
      say(`Answered: within the reuse interval the server takes this for two tabs that refresh at once. The new pair is of generation ${generation} as before.`, 'good')
      break
    case 'recovered':
      say(`Answered: nobody had used the last access token, so the server takes its reply for lost. The new pair is of generation ${generation}, and the lost one is void.`, 'good')
      break
    case 'refused':
      say('Refused: the session has ended. Either the server takes this for reuse, because somebody else may hold the old token, or the session had ended before: the answer is the same.', 'bad')
      break
    default:
      say(answer.message, 'bad')
  }
})

async function show(request) {
  const answer = await request
  display(answer)
  if (answer.body?.error === 'insufficient_scope') hideAdmin()
  say(answer.ok ? `${answer.path} answered with ${answer.status}.` : answer.message, answer.ok ? 'good' : 'bad')
}

// display shows an answer as it came, or none. The tokens of an answer are shown elsewhere.
function display(answer) {
  find('answer').hidden = !answer
  const status = find('answer-status')
  status.textContent = answer ? answer.status || 'no answer' : ''
  status.className = 'chip ' + kindOf(answer?.status)
  find('answer-request').textContent = answer ? `${answer.method} ${answer.path}` : ''
  find('answer-body').textContent = !answer ? '' : answer.body ? JSON.stringify(answer.body, null, 2) : answer.text || '(empty)'
}

onPress(find('call-me'), () => show(call('GET', '/me')))
onPress(find('call-admin'), () => show(call('GET', '/admin')))
onPress(find('call-introspect'), () => show(call('POST', protocol.introspect, {form: {token: login.access.raw}})))

// --- The state of the page -----------------------------------------------------------

onChange(() => {
  const inside = login.mode !== ''
  find('outside').hidden = inside
  find('inside').hidden = !inside
  find('who').hidden = !inside
  find('lead').hidden = inside
  find('logout').textContent = login.ended ? 'Log in again' : 'Log out'
  if (inside) {
    showTokens()
  } else {
    clear()
    clearTokens()
  }
})

// clear leaves nothing of an account in the page but its tokens, which showTokens replaces.
function clear() {
  clearAccount()
  display(null)
  find('journal').replaceChildren()
  find('journal-box').hidden = true
}

setInterval(() => {
  if (login.mode) showTime()
}, 1000)

find('outside').hidden = remembered() // nobody should type into a form that goes away
const restored = await restore()
find('outside').hidden = login.mode !== ''
if (restored?.ok) {
  say('The cookie has logged you in again.', 'good')
  await unlessDropped(loadAll)
} else if (restored) {
  say(restored.status === 400 ? 'The cookie of your last login is gone, or the server refuses it. Log in again.' : restored.message, 'bad')
}
document.body.dataset.ready = 'yes'
