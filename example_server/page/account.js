// What users do with their own account: sessions, changes, registration, a forgotten password.

import {hideAdmin, showAdmin} from './admin.js'
import {button, confirmed, emptyForms, facts, find, make, moment, onPress, onSubmit, say} from './dom.js'
import {send} from './http.js'
import {call, changePassword, forget} from './login.js'

// --- Sessions ------------------------------------------------------------------------

export async function loadSessions() {
  const answer = await call('GET', '/me/sessions')
  if (!answer.ok) {
    say(answer.message, 'bad')
    return answer
  }
  find('sessions-list').replaceChildren(...answer.body.sessions.map(describe))
  find('sessions-others').hidden = answer.body.sessions.length < 2
  return answer
}

// nameOf names the client of a session.
const nameOf = (session) => (session.client_id === 'default' ? 'a client that sent no client_id' : session.client_id)

function describe(session) {
  const list = make('dl', {className: 'facts'})
  facts(list, [
    ['Created', moment(session.created)],
    ['Last use', moment(session.last_refreshed)],
    ['Expires', moment(session.expires)],
    ['Program', session.user_agent || 'unknown'],
  ])
  const end = button('End it', () => endOne(session), session.current ? 'danger' : '')
  end.setAttribute('aria-label', session.current ? 'End it: this session' : `End it: the session of ${nameOf(session)} from ${session.address}`)
  return make('li', {'data-session': session.id},
    make('div', {className: 'heading'},
      make('h3', {}, nameOf(session) + ' ', make('span', {className: 'quiet', textContent: 'from ' + (session.address || 'somewhere')}),
        session.current ? make('span', {className: 'chip good', textContent: 'this one'}) : null),
      end),
    list)
}

async function endOne(session) {
  await end(`/me/sessions/${encodeURIComponent(session.id)}`, session.current,
    session.current ? 'You have ended this session.' : `The session of ${nameOf(session)} has ended: its tokens are refused from now on.`)
}

async function end(path, own, message) {
  const answer = await call('DELETE', path)
  if (!answer.ok) {
    say(answer.message, 'bad')
    return
  }
  if (own) {
    backToLogin(message, 'good')
    return
  }
  await loadSessions()
  say(message, 'good')
  find('sessions-heading').focus()
}

// backToLogin forgets the login in this page, and says why.
export function backToLogin(message, kind = '') {
  forget()
  say(message, kind)
  find('login-heading').focus()
}

onPress(find('sessions-load'), async () => {
  const answer = await loadSessions()
  if (answer.ok) say(`The account has ${answer.body.sessions.length === 1 ? 'one session' : answer.body.sessions.length + ' sessions'}.`, 'good')
})
onPress(find('sessions-others'), () => end('/me/sessions?others=true', false, 'All other sessions have ended.'))
onPress(find('sessions-all'), async () => {
  if (await confirmed('End all sessions?', 'This one ends as well, so you have to log in again.', 'End all')) {
    await end('/me/sessions', true, 'All sessions of the account have ended.')
  }
})

// --- The account ---------------------------------------------------------------------

export async function loadAccount() {
  const answer = await call('GET', '/me')
  if (!answer.ok) {
    say(answer.message, 'bad')
    return
  }
  showAccount(answer.body)
  if (answer.body.groups.includes('admin')) await showAdmin(answer.body.account_id)
  else hideAdmin()
}

// clearAccount leaves nothing of an account in the page. A question that is still open was
// asked of that account.
export function clearAccount() {
  find('confirm')?.close()
  for (const id of ['who-name', 'account-facts', 'sessions-list']) find(id).replaceChildren()
  emptyForms(find('inside'))
  hideAdmin()
}

function showAccount(account) {
  find('who-name').textContent = account.name
  facts(find('account-facts'), [
    ['Name', account.name],
    ['E-mail', account.email],
    ['Phone', account.phone || 'none'],
    ['Groups', account.groups.join(', ') || 'none'],
    ['Account id', make('span', {className: 'mono', textContent: account.account_id})],
  ])
  find('profile-name').value = account.name
  find('profile-phone').value = account.phone ?? ''
}

onSubmit('password', changePassword, async () => {
  say('The password is changed. All sessions have ended, and the tokens are those of a new one.', 'good')
  await loadSessions()
  find('tokens-heading').focus()
})

onSubmit('profile', (values) => call('PATCH', '/me', {json: values}), (answer) => {
  showAccount(answer.body)
  say('Saved.', 'good')
})

onSubmit('email', (values) => call('PUT', '/me/email', {json: values}), () => {
  say('A code is on its way to the new address. The e-mail changes once you enter it.', 'good')
  find('email-confirm-code').focus()
})

onSubmit('email-confirm', (values) => call('POST', '/me/email/confirm', {json: values}), async (_, form) => {
  form.reset()
  await loadAccount()
  say('The e-mail is changed.', 'good')
})

onSubmit('remove', async (values) => {
  const yes = await confirmed('Remove your account?', `The account ${find('who-name').textContent} and all its sessions are gone then, for good.`, 'Remove it')
  return yes ? call('DELETE', '/me', {json: values}) : {ok: true, cancelled: true}
}, (answer) => {
  if (!answer.cancelled) backToLogin('Your account is removed.', 'good')
})

// --- Without a login -----------------------------------------------------------------

onSubmit('register', (values) => send('POST', '/accounts', {json: values}), () => {
  say('A code is on its way, if the address can have one.', 'good')
  open('register-confirm')
})

onSubmit('register-confirm', async (values, form) => {
  const answer = await send('POST', '/accounts/confirm', {json: values})
  if (answer.status === 409) form.elements.namedItem('name').closest('.field').classList.add('wanted')
  return answer
}, (_, form) => welcome(form, 'Your account is made. Log in with it.'))

onSubmit('reset', (values) => send('POST', '/password-reset', {json: values}), () => {
  say('A code is on its way, if an account has this address.', 'good')
  open('reset-confirm')
})

onSubmit('reset-confirm', (values) => send('POST', '/password-reset/confirm', {json: values}), (_, form) => welcome(form, 'The new password is set, and every session of the account has ended. Log in with it.'))

function open(form) {
  find(form + '-box').open = true
  find(form + '-code').focus()
}

function welcome(form, message) {
  form.reset()
  say(message, 'good')
  find('login-username').focus()
}
