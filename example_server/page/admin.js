// Administration, for accounts of the group admin.

import {button, confirmed, Dropped, emptyForms, find, make, onPress, onSubmit, say} from './dom.js'
import {call} from './login.js'

const limit = 10

let search = {prefix: '', next: '', own: ''}

// showAdmin shows the accounts to an administrator, whose own account is named.
export async function showAdmin(own) {
  search.own = own
  find('admin').hidden = false
  find('nav-admin').hidden = false
  return load('')
}

export function hideAdmin() {
  search = {prefix: '', next: '', own: ''}
  find('admin').hidden = true
  find('nav-admin').hidden = true
  find('admin-list').replaceChildren()
  emptyForms(find('admin'))
}

// ask sends a request of an administrator. For an account that is none any more, the
// administration goes away.
async function ask(method, path, options) {
  const answer = await call(method, path, options)
  if (answer.body?.error === 'insufficient_scope') {
    hideAdmin()
    say('Your account is no longer in the group admin, so the administration is closed.', 'bad')
    find('account-heading').focus()
    throw new Dropped()
  }
  return answer
}

// load asks for the accounts after a place in the list. "" is its beginning.
async function load(after) {
  const query = new URLSearchParams({limit})
  if (search.prefix) query.set('prefix', search.prefix)
  if (after) query.set('after', after)
  const answer = await ask('GET', '/admin/accounts?' + query)
  if (!answer.ok) return answer
  const list = find('admin-list')
  if (!after) list.replaceChildren()
  for (const account of answer.body.accounts) add(account, 'append')
  if (!list.children.length) list.append(make('li', {className: 'quiet', textContent: 'No account begins like that.'}))
  search.next = answer.body.next ?? ''
  find('admin-more').hidden = !search.next
  return answer
}

onSubmit('admin-search', ({prefix}) => {
  search.prefix = prefix
  return load('')
}, (answer) => say(answer.body.next ? `The first ${answer.body.accounts.length} accounts.` : `Found ${answer.body.accounts.length}.`, 'good'))

onPress(find('admin-more'), async () => {
  const place = find('admin-list').children.length
  const answer = await load(search.next)
  if (answer.ok) find('admin-list').children[place]?.querySelector('summary').focus()
  else say(answer.message, 'bad')
})

onSubmit('admin-create', ({groups, ...values}) => {
  const json = groups ? {...values, groups: groups.split(/[\s,]+/).filter(Boolean)} : values
  return ask('POST', '/admin/accounts', {json})
}, (answer, form) => {
  form.reset()
  add(answer.body, 'prepend')
  say(`The account ${answer.body.name} is made.`, 'good')
})

// add puts an account into the list, in place of what stands there of it.
function add(account, where) {
  const list = find('admin-list')
  for (const item of [...list.children]) {
    if (!item.dataset.account || item.dataset.account === account.name) item.remove()
  }
  list[where](describe(account))
}

// --- One account ---------------------------------------------------------------------

function describe(account) {
  const item = make('li', {'data-account': account.name})
  fill(item, account, false)
  return item
}

function fill(item, account, open) {
  const path = '/admin/accounts/' + account.account_id
  const mine = account.account_id === search.own

  const refill = async (message) => {
    const now = await ask('GET', path)
    if (now.ok) {
      fill(item, now.body, true)
      item.querySelector('summary').focus()
    }
    say(message, 'good')
  }

  // change sends a request, and shows the account as it is then.
  const change = async (method, below, json, message) => {
    const answer = await ask(method, path + below, {json})
    if (answer.ok) await refill(message)
    else say(answer.message, 'bad')
  }

  const summary = make('summary', {}, make('strong', {textContent: account.name}), ' ', make('span', {className: 'quiet', textContent: account.email}),
    ...account.groups.map((group) => make('span', {className: 'chip', textContent: group})),
    account.disabled ? make('span', {className: 'chip bad', textContent: 'disabled'}) : null,
    mine ? make('span', {className: 'chip good', textContent: 'you'}) : null)

  const row = make('div', {className: 'row'},
    account.disabled
      ? button('Enable', () => change('PATCH', '', {disabled: false}, `${account.name} can log in again.`))
      : button('Disable', () => change('PATCH', '', {disabled: true}, `${account.name} is disabled, and its sessions have ended.`)),
    button('End its sessions', () => change('DELETE', '/sessions', undefined, `All sessions of ${account.name} have ended.`)),
    button('Forget failed logins', () => change('POST', '/unblock', undefined, `The failed logins of ${account.name} are forgotten.`)),
    button('Remove', () => remove(item, account, path), 'danger'))

  item.replaceChildren(make('details', {open}, summary, make('div', {className: 'manage'}, groupsOf(account, path, change, refill), row)))
}

function groupsOf(account, path, change, refill) {
  const form = make('form', {id: 'group-' + account.account_id, className: 'search'},
    make('div', {className: 'field'},
      make('label', {htmlFor: 'group-name-' + account.account_id, textContent: 'Another group'}),
      make('input', {id: 'group-name-' + account.account_id, name: 'group', autocomplete: 'off', spellcheck: false, autocapitalize: 'none'})),
    make('button', {textContent: 'Add'}))
  form.noValidate = true
  onSubmit(form, async (values) => {
    const group = values.group.trim()
    if (!group) return {ok: false, message: 'Type the name of a group.', field: 'group'} // the path would name none
    const answer = await ask('PUT', path + '/groups/' + encodeURIComponent(group))
    return {...answer, group, field: 'group'}
  }, ({group}) => refill(`${account.name} is in the group ${group}.`))
  const members = account.groups.map((group) => button(`Out of ${group}`, () =>
    change('DELETE', '/groups/' + encodeURIComponent(group), undefined, `${account.name} is no longer in the group ${group}.`)))
  return make('div', {className: 'groups'}, make('div', {className: 'row'}, ...members), form)
}

async function remove(item, account, path) {
  if (!await confirmed(`Remove ${account.name}?`, 'The account and its sessions are gone then, for good.', 'Remove it')) return
  const answer = await ask('DELETE', path)
  if (!answer.ok) {
    say(answer.message, 'bad')
    return
  }
  item.remove()
  say(`The account ${account.name} is removed.`, 'good')
  find('admin-heading').focus()
}
