// Requests to the server, and what came of them in plain words.

const watchers = []

// onSend calls a function before each request. What it returns is called with the answer.
export function onSend(watcher) {
  watchers.push(watcher)
}

// send sends one request. It never throws: an answer with the status 0 says that none came
// within a minute.
// An answer has these members:
//
//   method, path, status, ok
//   grant    the grant_type of the request, if it has one
//   body     the JSON, or null
//   text     the body as it came
//   message  what went wrong, for people; empty if nothing did
//   field    the member of the request that is at fault, if it is one
export async function send(method, path, {form, json, bearer} = {}) {
  const headers = new Headers()
  let content
  if (form) content = new URLSearchParams(form)
  if (json) {
    headers.set('Content-Type', 'application/json')
    content = JSON.stringify(json)
  }
  if (bearer) headers.set('Authorization', 'Bearer ' + bearer)
  const listeners = watchers.map((watcher) => watcher())
  const answer = {method, path, grant: form?.grant_type ?? '', status: 0, ok: false, body: null, text: '', message: '', field: ''}
  try {
    const response = await fetch(path, {method, headers, body: content, cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(60_000)})
    answer.text = await response.text()
    answer.status = response.status
    answer.ok = response.ok
    answer.retryAfter = Number(response.headers.get('Retry-After')) || 0
  } catch {
    answer.status = 0
  }
  answer.body = parse(answer.text)
  answer.field = answer.body?.field ?? ''
  answer.message = explain(answer)
  for (const listener of listeners) listener(answer)
  return answer
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function explain({status, ok, body, retryAfter}) {
  if (ok) return ''
  const again = retryAfter ? ` Try again in ${count(retryAfter, 'second')}.` : ''
  switch (status) {
    case 0:
      return 'No answer came from the server. Does it run, and is the network up? It may have done what you asked all the same. Try again.'
    case 429:
      return 'Too many attempts.' + (again || ' Try again later.')
    case 503:
      return 'The server has an outage, for example of its store. Nothing is wrong with what you sent.' + (again || ' Try again later.')
  }
  if (body?.error_description) return sentence(body.error_description)
  if (body?.title) {
    // The detail of a refused value begins with the name of its field.
    const name = body.field + ': '
    const detail = body.detail?.startsWith(name) ? body.detail.slice(name.length) : body.detail
    return sentence(body.title) + (detail ? ' ' + sentence(detail) : '')
  }
  return `The server answered with status ${status}.`
}

export function count(number, unit) {
  return `${number} ${unit}${number === 1 ? '' : 's'}`
}

function sentence(text) {
  const trimmed = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(trimmed) ? trimmed : trimmed + '.'
}
