// Checks: each is a sentence, printed with ok or FAILED.

let passed = 0
const failures = []

export function check (sentence, good, why = '') {
  if (good) {
    passed += 1
    console.log(`ok      ${sentence}`)
    return
  }
  failures.push(sentence)
  console.log(`FAILED  ${sentence}`)
  const text = typeof why === 'string' ? why : JSON.stringify(why, null, 2)
  if (text) console.log(text.replace(/^/gm, '          ').slice(0, 4000))
}

export function equal (sentence, is, want) {
  const [one, other] = [JSON.stringify(is), JSON.stringify(want)]
  check(sentence, one === other, `is    ${one}\nwants ${other}`)
}

// long enough for a machine that does a great deal else; what comes at once is not waited for
const WITHIN = 60000

/** A check of something that takes its time: `look` is asked until it says yes. */
export async function comes (sentence, look, why = () => '', within = WITHIN) {
  const good = await until(look, within)
  check(sentence, good, good ? '' : String(await why()))
}

export async function until (look, within = WITHIN) {
  for (const end = Date.now() + within; ;) {
    if (await look()) return true
    if (Date.now() > end) return false
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

export function report () {
  console.log(`${passed} passed, ${failures.length} failed`)
  return failures.length > 0 || passed === 0 ? 1 : 0
}
