// The page: it shows the login, and offers what can be done with it.

import {backToLogin, clearAccount, loadAccount, loadSessions} from './account.js'
import {find, make, onPress, onSubmit, say} from './dom.js'
import {onAnswer} from './http.js'
import {call, logIn, login, logOut, onChange, onLogoutElsewhere, presentOld, protocol, refresh, remembered, restore} from './login.js'
import {showTokens, showTime} from './tokens.js'

// --- What was sent -------------------------------------------------------------------

onAnswer(({method, path, grant, status, message}) => {
  const entry = make('li', {},
    make('p', {}, make('span', {className: 'mono', textContent: `${method} ${path}`}), ' ', chip(status)),
    grant ? make('p', {className: 'quiet', textContent: 'grant ' + grant}) : null,
    message ? make('p', {className: 'quiet', textContent: message}) : null)
  find('journal').prepend(entry)
  find('journal-box').hidden = false
  while (find('journal').children.length > 30) find('journal').lastChild.remove()
})

function chip(status) {
  return make('span', {className: 'chip ' + kindOf(status), textContent: status || 'no answer'})
}

const kindOf = (status) => (status >= 200 && status < 300 ? 'good' : 'bad')

// --- Logging in and out --------------------------------------------------------------

onSubmit('login', async ({keep, username, password}) => {
  const answer = await logIn(keep, username, password)
  if (answer.body?.error === 'invalid_grant') answer.fields = ['username', 'password']
  return answer
}, async () => {
  if (!login.kept) say('You are logged in, but the browser did not keep the cookie.', 'bad')
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
  if (login.ended) {
    backToLogin('Log in again to start another session.')
    return
  }
  const answer = await logOut()
  if (answer.ok) backToLogin('You are logged out: the session has ended, and its tokens are refused from now on.', 'good')
  else say(answer.message, 'bad')
})

onLogoutElsewhere(() => backToLogin('You have logged out in another tab.'))

// --- The tokens ----------------------------------------------------------------------

onPress(find('refresh'), async () => {
  const subject = login.access.claims.sub
  const answer = await refresh()
  display(answer.ok ? null : answer)
  if (!answer.ok) {
    say(answer.message, 'bad')
    return
  }
  say(`Refreshed: the session is in generation ${login.access.claims.gen}, with a new pair of tokens.`, 'good')
  if (login.access.claims.sub !== subject) { // another tab has logged in with another account
    await loadAll()
    say('Another tab has logged in with another account, and tabs share the cookie. This is that account now.')
  }
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
    case 'reused':
      say('Refused as reuse: somebody else may hold the old token, so the server has ended the session.', 'bad')
      break
    default:
      say(answer.message, 'bad')
  }
})

async function show(request) {
  const answer = await request
  display(answer)
  say(answer.ok ? `${answer.path} answered with ${answer.status}.` : answer.message, answer.ok ? 'good' : 'bad')
}

// display shows an answer as it came, or none. The tokens of an answer are shown elsewhere.
function display(answer) {
  find('answer').hidden = !answer
  if (!answer) return
  find('answer-request').textContent = `${answer.method} ${answer.path}`
  const status = find('answer-status')
  status.textContent = answer.status || 'no answer'
  status.className = 'chip ' + kindOf(answer.status)
  find('answer-body').textContent = answer.body ? JSON.stringify(answer.body, null, 2) : answer.text || '(empty)'
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
    clearAccount()
    display(null)
  }
})

setInterval(() => {
  if (login.mode) showTime()
}, 1000)

find('outside').hidden = remembered() // nobody should type into a form that goes away
const restored = await restore()
find('outside').hidden = login.mode !== ''
if (restored?.ok) {
  say('The cookie has logged you in again.', 'good')
  await loadAll()
} else if (restored) {
  say(restored.status === 400 ? 'Your last login has ended.' : restored.message, 'bad')
}
document.body.dataset.ready = 'yes'
