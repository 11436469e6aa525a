// Keeps the page live, and sends what a person decides. The admin token stays in its field.
'use strict'

const $ = id => document.getElementById(id)
const main = $('state')
const live = $('live')

// --- live: events say that something has happened; what it is now is rendered by the sidecar

const atMostEvery = 1000
const atLeastEvery = 15000
let last = 0
let waiting = null

function soon () {
  if (!waiting) waiting = setTimeout(refresh, Math.max(0, last + atMostEvery - Date.now()))
}

async function refresh () {
  clearTimeout(waiting)
  waiting = null
  last = Date.now()
  try {
    const answer = await fetch('/console/state', { cache: 'no-store' })
    if (answer.ok) show(await answer.text())
  } catch {
    say('the sidecar does not answer; trying again')
  }
}

function show (text) {
  const fresh = new DOMParser().parseFromString(text, 'text/html').body
  const held = document.activeElement?.closest('#state [data-action]')
  const key = held && [held.dataset.action, held.dataset.tenant, held.dataset.glass]
  const sections = [...fresh.children]
  const current = [...main.children]
  if (sections.length !== current.length) main.replaceChildren(...sections)
  else sections.forEach((section, n) => { if (section.innerHTML !== current[n].innerHTML) current[n].replaceWith(section) })
  if (key) {
    const again = [...main.querySelectorAll('[data-action]')].find(one => [one.dataset.action, one.dataset.tenant, one.dataset.glass].every((part, n) => part === key[n]))
    again?.focus({ preventScroll: true })
  }
}

// said when it changes only, so that a screen reader is not kept busy
function say (text) {
  if (live.textContent !== text) live.textContent = text
}

const events = new EventSource('/api/v1/events')
events.onopen = () => { say('live'); soon() }
events.onerror = () => say('not live: the sidecar does not answer; trying again')
for (const name of ['traffic', 'exchange', 'state', 'break_glass', 'store', 'reload', 'alert', 'started', 'stopping', 'lagged']) events.addEventListener(name, soon)
setInterval(soon, atLeastEvery)

// --- actions

const words = {
  refresh: ['Refresh the token of', 'One exchange at Amazon, now.', false],
  quarantine: ['Quarantine', 'Its calls get 503 until somebody resumes it.', true],
  resume: ['Resume', 'It is served again.', true],
  kill: ['Kill', 'Its tokens are dropped at once, everywhere; its calls get 403 until somebody resumes it.', true],
  'break-glass': ['Break glass for', 'Extra routes for a limited time, shown everywhere and audited.', true],
  revoke: ['Revoke the break-glass of', 'Its extra routes end now.', false]
}
let asked = null

document.addEventListener('click', event => {
  const button = event.target.closest('[data-action]')
  if (!button) return
  if (!$('token').value) {
    say('enter the admin token first')
    return $('token').focus()
  }
  const { action, tenant, glass } = button.dataset
  const [title, text, reasoned] = words[action]
  asked = { action, tenant, glass, reasoned }
  $('ask-title').textContent = `${title} ${tenant}?`
  $('ask-text').textContent = text
  $('ask-routes').hidden = action !== 'break-glass'
  $('ask-why').hidden = !reasoned
  $('ask-error').textContent = ''
  $('ask-reason').value = ''
  $('ask').showModal()
})

$('ask-no').addEventListener('click', () => $('ask').close())
$('key').addEventListener('submit', event => event.preventDefault())
$('ask-form').addEventListener('submit', async event => {
  event.preventDefault()
  const { action, tenant, glass, reasoned } = asked
  const reason = $('ask-reason').value.trim()
  if (reasoned && !reason) return complain('Say why: it is written down with your action.', 'ask-reason')
  let path = `/api/v1/tenants/${encodeURIComponent(tenant)}/${action}`
  let body = reasoned ? { reason } : {}
  if (action === 'revoke') path = `/api/v1/break-glass/${encodeURIComponent(glass)}/revoke`
  if (action === 'break-glass') {
    const allow = $('ask-allow').value.split('\n').map(line => line.trim()).filter(Boolean)
    const by = $('ask-by').value.trim()
    if (!allow.length) return complain('Name at least one route, as GET /orders/v0/orders.', 'ask-allow')
    if (!by) return complain('Say who you are.', 'ask-by')
    path = '/api/v1/break-glass'
    body = { tenant, allow, for: $('ask-for').value.trim(), reason, by }
  }
  $('ask-yes').disabled = true
  try {
    const answer = await fetch(path, {
      method: 'POST',
      headers: { authorization: `Bearer ${$('token').value}`, 'content-type': 'application/json' },
      body: JSON.stringify(body)
    })
    if (!answer.ok) return complain(await refusal(answer))
    $('ask').close()
    say(`done: ${action} ${tenant}`)
    refresh()
  } catch {
    complain('The sidecar does not answer.')
  } finally {
    $('ask-yes').disabled = false
  }
})

async function refusal (answer) {
  try {
    const [{ message, details }] = (await answer.json()).errors
    return `${message} ${details ?? ''}`
  } catch {
    return `It was refused with status ${answer.status}.`
  }
}

function complain (text, field) {
  $('ask-error').textContent = text
  if (field) $(field).focus()
}
