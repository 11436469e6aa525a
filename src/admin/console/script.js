// Keeps the page live, and sends what a person decides. The admin token is in one variable, for minutes, and nowhere else.
'use strict'

document.documentElement.classList.add('script')
const $ = id => document.getElementById(id)
const main = $('state')

// --- live: events say that something has happened; what it is now is rendered by the sidecar

const atMostEvery = 2000
const atLeastEvery = 15000
const again = 3000
let last = 0
let waiting = null

function soon () {
  // nobody sees a hidden page, but its title
  const pause = document.hidden ? atLeastEvery : atMostEvery
  if (!waiting) waiting = setTimeout(refresh, Math.max(0, last + pause - Date.now()))
}

async function refresh () {
  clearTimeout(waiting)
  waiting = null
  last = Date.now()
  try {
    const answer = await fetch('/console/state', { cache: 'no-store' })
    if (!answer.ok) return lost()
    show(await answer.text())
    found()
  } catch {
    lost()
  }
}

function show (text) {
  const fresh = new DOMParser().parseFromString(text, 'text/html').body
  const held = document.activeElement
  patch(main, fresh)
  if (held !== document.activeElement && held.isConnected) held.focus({ preventScroll: true })
  tell()
}

// the tab says it too
function tell () {
  const troubled = Number($('verdict').dataset.troubled)
  document.title = troubled ? `(${troubled}) spapi-sidecar` : 'spapi-sidecar'
  $('icon').href = troubled ? '/console/trouble.svg' : '/console/well.svg'
}

// Makes one element like another and keeps what is the same, so that focus, folds and selections stay where they are. What
// has an id is known by it wherever it moves.
function patch (old, fresh) {
  const known = new Map([...old.children].filter(one => one.id).map(one => [one.id, one]))
  let at = old.firstChild
  for (const want of [...fresh.childNodes]) {
    const same = known.get(want.id) ?? (at && !at.id && !want.id && at.nodeName === want.nodeName ? at : null)
    if (!same || same.nodeName !== want.nodeName) {
      old.insertBefore(want, at)
      continue
    }
    if (same === at) at = at.nextSibling
    else old.insertBefore(same, at)
    if (same.isEqualNode(want)) continue
    if (same.nodeType !== Node.ELEMENT_NODE) same.nodeValue = want.nodeValue
    else {
      for (const { name, value } of want.attributes) if (same.getAttribute(name) !== value) same.setAttribute(name, value)
      for (const { name } of [...same.attributes]) if (name !== 'open' && !want.hasAttribute(name)) same.removeAttribute(name)
      patch(same, want)
    }
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

// said when it changes only, so that a screen reader is not kept busy
function say (id, text) {
  if ($(id).textContent !== text) $(id).textContent = text
}

const doneFor = 30000
let clearing = null

function done (text) {
  say('done', text)
  clearTimeout(clearing)
  clearing = setTimeout(() => say('done', ''), doneFor)
}

function found () {
  say('live', 'live')
  $('live').classList.add('on')
  document.body.classList.remove('stale')
}

function lost () {
  const asOf = main.querySelector('.verdict time')?.textContent
  say('live', `not live: the sidecar does not answer; what is shown is as of ${asOf}`)
  $('live').classList.remove('on')
  document.body.classList.add('stale')
}

const heard = ['hello', 'traffic', 'exchange', 'state', 'break_glass', 'store', 'reload', 'verdict', 'audit', 'upstream_incident', 'started', 'stopping', 'lagged']
function listen () {
  const events = new EventSource('/api/v1/events')
  for (const name of heard) events.addEventListener(name, soon)
  events.onerror = () => {
    soon()
    // what is refused, or ends, is not tried again by itself
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, again)
  }
}
listen()
setInterval(soon, atLeastEvery)
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh() })
tell()

// --- the admin token

const heldFor = 600000
let token = ''
let forgetting = null

function hold (text) {
  token = text
  clearTimeout(forgetting)
  forgetting = text ? setTimeout(forget, heldFor) : null
  $('held').hidden = !text
}

function forget () {
  hold('')
}

$('forget').addEventListener('click', () => {
  forget()
  done('The admin token is forgotten.')
  main.focus({ preventScroll: true })
})
window.addEventListener('pagehide', forget)

// --- actions

const words = {
  refresh: ['Refresh the token of', 'Refresh', 'One exchange at Amazon, now.'],
  quarantine: ['Quarantine', 'Quarantine', 'Its calls get 503 until somebody resumes it.'],
  resume: ['Resume', 'Resume', 'It is served again.'],
  kill: ['Kill', 'Kill', 'Its tokens are dropped at once, in the whole fleet; its calls get 403 until somebody resumes it.'],
  'break-glass': ['Break glass for', 'Break glass for', 'Extra routes for a limited time: shown in every view, alerted and audited.'],
  revoke: ['Revoke the break-glass of', 'Revoke', 'Its extra routes end now.']
}
const reasoned = ['quarantine', 'resume', 'kill', 'break-glass']
let asked = null

document.addEventListener('click', event => {
  const button = event.target.closest('[data-action]')
  if (!button) return
  const { action, tenant, glass } = button.dataset
  const [title, verb, text] = words[action]
  asked = { action, tenant, glass, button }
  $('ask-title').textContent = `${title} ${tenant}?`
  $('ask-text').textContent = text
  $('ask-yes').textContent = `${verb} ${tenant}`
  $('ask-yes').className = action
  $('ask-routes').hidden = action !== 'break-glass'
  $('ask-why').hidden = !reasoned.includes(action)
  $('ask-key').hidden = token !== ''
  $('ask-reason').value = ''
  complain('')
  $('ask').showModal()
  const first = ['ask-allow', 'ask-reason', 'ask-token'].find(id => !$(id).closest('[hidden]'))
  $(first ?? 'ask-yes').focus()
})

$('ask-no').addEventListener('click', () => $('ask').close())

// back to where it was asked; where that has gone, to the tenant
$('ask').addEventListener('close', () => {
  $('ask-token').value = ''
  complain('')
  const { button, tenant } = asked
  if (button.isConnected) button.focus({ preventScroll: true })
  // it may have moved up or down the list
  else ($(`tenant-${tenant}`) ?? main).focus()
})

$('ask-form').addEventListener('submit', async event => {
  event.preventDefault()
  const order = written()
  if (!order) return
  $('ask-yes').disabled = true
  complain('')
  try {
    const answer = await fetch(order.path, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(order.body)
    })
    if (answer.status === 401) {
      forget()
      $('ask-key').hidden = false
    }
    if (!answer.ok) return complain(await refused(answer), answer.status === 401 ? 'ask-token' : '')
    await refresh()
    $('ask').close()
    done(`Done: ${order.what}.`)
  } catch {
    complain('The sidecar does not answer.')
  } finally {
    $('ask-yes').disabled = false
  }
})

// What is asked for, or nothing where it is not whole yet.
function written () {
  const { action, tenant, glass } = asked
  const of = id => $(id).value.trim()
  const [reason, by] = [of('ask-reason'), of('ask-by')]
  const allow = of('ask-allow').split('\n').map(line => line.trim()).filter(Boolean)
  if (action === 'break-glass' && !allow.length) return complain('Name at least one route, as GET /orders/v0/orders.', 'ask-allow')
  if (reasoned.includes(action) && !reason) return complain('Say why: it is written down with your action.', 'ask-reason')
  if (reasoned.includes(action) && !by) return complain('Say who you are: it is written down with your action.', 'ask-by')
  if (!token && !of('ask-token')) return complain('Enter the admin token.', 'ask-token')
  if (!token) hold(of('ask-token'))
  $('ask-token').value = ''
  $('ask-key').hidden = true
  const what = `${words[action][0].toLowerCase()} ${tenant}`
  if (action === 'break-glass') return { what, path: '/api/v1/break-glass', body: { tenant, allow, for: of('ask-for'), reason, by } }
  if (action === 'revoke') return { what, path: `/api/v1/break-glass/${encodeURIComponent(glass)}/revoke`, body: by ? { by } : {} }
  return { what, path: `/api/v1/tenants/${encodeURIComponent(tenant)}/${action}`, body: reasoned.includes(action) ? { reason, by } : {} }
}

async function refused (answer) {
  try {
    const [{ message, details }] = (await answer.json()).errors
    // what it says of header fields is for programs
    return answer.status === 401 ? `${message} Enter the content of listen.admin_token_file.` : `${message} ${details ?? ''}`
  } catch {
    return `It was refused with status ${answer.status}.`
  }
}

function complain (text, field) {
  $('ask-error').textContent = text
  if (field) $(field).focus()
}
