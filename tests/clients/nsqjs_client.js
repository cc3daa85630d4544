// A producer and a consumer on nsqjs. The same arguments and lines as the Python drivers; see driver.py.
'use strict'

const nsq = require('nsqjs')

const report = (event, fields) => console.log(JSON.stringify({ event, ...fields }))

function finish(code, event, fields) {
  report(event, fields)
  process.exitCode = code
  // What is written to a pipe may not be through yet when exit() is called.
  process.stdout.write('', () => process.exit(code))
}

const fail = (text) => finish(1, 'error', { text: String(text) })

function parse(words) {
  const given = {
    count: 1, prefix: 'm', batch: 1, defer: 0, 'max-in-flight': 10, requeue: 0,
    'requeue-delay': 0, silent: 0, touch: 0, 'msg-timeout': 0, seconds: 60, format: '%s', distinct: 0, options: '{}', tcp: '', lookupd: '',
  }
  for (let at = 1; at < words.length; at += 2) {
    const name = words[at].replace(/^--/, '')
    given[name] = typeof given[name] === 'number' ? Number(words[at + 1]) : words[at + 1]
  }
  const [host, port] = given.tcp.split(':')
  const options = JSON.parse(given.options)
  for (const paper of ['ca', 'cert', 'key']) {
    if (options[paper]) options[paper] = Buffer.from(options[paper])
  }
  return { verb: words[0], host, port: Number(port), ...given, options }
}

function publish(given) {
  const writer = new nsq.Writer(given.host, given.port, given.options)
  const bodies = Array.from({ length: given.count }, (_, number) =>
    given.format.replace('%s', `${given.prefix}-${number}`))
  let sent = 0
  const next = (error) => {
    if (error) return fail(error)
    if (sent >= bodies.length) return finish(0, 'done', { count: sent })
    const batch = bodies.slice(sent, sent + given.batch)
    sent += batch.length
    // A list of one: nsqjs 0.13 takes a bare message by its documentation, and throws.
    if (given.defer) return writer.deferPublish(given.topic, batch.slice(0, 1), given.defer, next)
    return writer.publish(given.topic, given.batch > 1 ? batch : batch[0], next)
  }
  writer.on('ready', () => next())
  writer.on('error', fail)
  writer.connect()
}

function consume(given) {
  const options = {
    ...(given.lookupd
      ? { lookupdHTTPAddresses: [given.lookupd] }
      : { nsqdTCPAddresses: [`${given.host}:${given.port}`] }),
    maxInFlight: given['max-in-flight'],
    ...given.options,
  }
  if (given['msg-timeout']) options.messageTimeout = given['msg-timeout']
  const reader = new nsq.Reader(given.topic, given.channel, options)
  const met = new Set()
  const bodies = new Set()
  const left = { requeue: given.requeue, silent: given.silent, touch: given.touch }
  let finished = 0

  const decide = (message) => {
    const first = !met.has(message.id)
    met.add(message.id)
    if (first && left.silent-- > 0) return 'none'
    if (first && left.requeue-- > 0) return 'req'
    bodies.add(message.body.toString())
    finished = given.distinct ? bodies.size : finished + 1
    return 'fin'
  }
  reader.on('message', (message) => {
    const touched = left.touch-- > 0
    const answer = decide(message)
    report('message', {
      id: String(message.id), body: message.body.toString(), attempts: message.attempts, answer, touched,
    })
    if (touched) message.touch()
    if (answer === 'fin') message.finish()
    if (answer === 'req') message.requeue(given['requeue-delay'], false)
    if (finished === given.count) {
      // The answer is written on a later turn of the loop; closing waits for it to be.
      setTimeout(() => reader.close(), 100)
    }
  })
  reader.on('nsqd_closed', () => {
    if (finished >= given.count) finish(0, 'done', { count: finished })
  })
  // An answer that came too late is refused; the message comes again, and the connection goes on.
  reader.on('error', (error) => {
    if (/E_(FIN|REQ|TOUCH)_FAILED/.test(String(error))) return report('refused', { text: String(error) })
    return fail(error)
  })
  setTimeout(
    () => fail(`only ${finished} of ${given.count} messages after ${given.seconds} s`),
    given.seconds * 1000,
  ).unref()
  reader.connect()
}

const given = parse(process.argv.slice(2))
if (given.verb === 'publish') publish(given)
else consume(given)
