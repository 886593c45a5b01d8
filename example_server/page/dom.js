// Elements, forms and messages.

export const find = (id) => document.getElementById(id)

// make makes an element. Text never becomes markup.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (name in element) element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...children.filter((child) => child !== null && child !== undefined))
  return element
}

// say shows what happened, and screen readers read it out. kind is 'good', 'bad' or empty.
export function say(text, kind = '') {
  find('banner').className = 'banner ' + kind
  find('status').replaceChildren(...(text ? [make('p', {textContent: text})] : []))
}

find('dismiss').addEventListener('click', () => {
  say('')
  find('main').focus()
})

// Dropped is thrown to give up work that nobody waits for any more, such as a request of a
// login that is over.
export class Dropped extends Error {}

// unlessDropped does work, and ends quietly where it was dropped.
export async function unlessDropped(work) {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof Dropped)) throw error
  }
}

// onPress runs work when a button is pressed, and not again until the work is done. A busy
// button is not disabled, because it would lose the focus.
export function onPress(button, work) {
  button.addEventListener('click', () => whileBusy(button, work))
  return button
}

async function whileBusy(button, work) {
  if (button.getAttribute('aria-disabled') === 'true') return
  button.setAttribute('aria-disabled', 'true')
  try {
    await unlessDropped(work)
  } finally {
    button.removeAttribute('aria-disabled')
  }
}

export const button = (text, work, className = '') => onPress(make('button', {type: 'button', textContent: text, className}), work)

// onSubmit calls work with the values of a form. work returns the answer of the server, and
// errors are shown at the field at fault, else above the button. done is called after a
// success. form is an element or its id.
export function onSubmit(form, work, done) {
  if (typeof form === 'string') form = find(form)
  if (!form) return // the server does not offer it
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const submit = form.querySelector('button:not([type])')
    whileBusy(submit, async () => {
      clearErrors(form)
      say('')
      const answer = await work(valuesOf(form), form)
      if (answer.ok) {
        for (const input of form.querySelectorAll('input[type=password]')) input.value = ''
        await done(answer, form)
      } else {
        showError(form, answer)
      }
    })
  })
}

function valuesOf(form) {
  const values = Object.fromEntries(new FormData(form))
  for (const input of form.querySelectorAll('[data-optional]')) {
    if (values[input.name] === '') delete values[input.name]
  }
  return values
}

function showError(form, {message, field, fields}) {
  const inputs = (fields ?? [field]).map((name) => name && form.elements.namedItem(name)).filter((input) => input instanceof HTMLInputElement)
  const error = make('p', {id: form.id + '-error', className: 'error', role: 'alert', textContent: message})
  if (inputs.length === 1) inputs[0].after(error)
  else form.querySelector('button:not([type])').before(error)
  for (const input of inputs) {
    input.setAttribute('aria-invalid', 'true')
    input.setAttribute('aria-describedby', [error.id, input.getAttribute('aria-describedby')].filter(Boolean).join(' '))
  }
  inputs[0]?.focus()
}

// emptyForms leaves nothing that somebody has typed into the forms of an element.
export function emptyForms(element) {
  for (const form of element.querySelectorAll('form')) {
    form.reset()
    clearErrors(form)
  }
}

function clearErrors(form) {
  const id = form.id + '-error'
  find(id)?.remove()
  for (const input of form.querySelectorAll('[aria-invalid]')) {
    input.removeAttribute('aria-invalid')
    const rest = input.getAttribute('aria-describedby').split(' ').filter((part) => part !== id)
    if (rest.length) input.setAttribute('aria-describedby', rest.join(' '))
    else input.removeAttribute('aria-describedby')
  }
}

// confirmed asks before something that cannot be undone.
export function confirmed(heading, text, yes) {
  const no = make('button', {type: 'button', id: 'confirm-no', textContent: 'Cancel'})
  const dialog = make('dialog', {id: 'confirm', 'aria-labelledby': 'confirm-heading', 'aria-describedby': 'confirm-text'},
    make('h2', {id: 'confirm-heading', textContent: heading}),
    make('p', {id: 'confirm-text', textContent: text}),
    make('div', {className: 'row'}, no, make('button', {type: 'button', id: 'confirm-yes', className: 'danger', textContent: yes, onclick: () => dialog.close('yes')})))
  no.addEventListener('click', () => dialog.close())
  document.body.append(dialog)
  dialog.showModal()
  no.focus()
  return new Promise((resolve) => dialog.addEventListener('close', () => { // Escape closes it, too
    dialog.remove()
    resolve(dialog.returnValue === 'yes')
  }))
}

// moment is a point in time, as people of this place write it.
export function moment(time) {
  const date = new Date(time)
  return make('time', {dateTime: date.toISOString(), textContent: date.toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'medium'})})
}

export function facts(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]))
}
