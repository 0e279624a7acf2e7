/** Lives one plan from its first publish until everything is drained, and reads back what is stored. */
import { ManualClock, SimulatedNetwork } from 'ratatoskr/contract-tests'
import { messagesOf, type Session, utf8Text } from 'ratatoskr/ports'
import { BrokerHost } from './broker-host.ts'
import { ClientHost } from './client-host.ts'
import { Ledger, type StoredRecord } from './ledger.ts'
import { outTopic, streamGroup, workTopic } from './names.ts'
import type { FaultPlan, MemberPlan, Plan } from './plan.ts'

/** How long draining may take once nothing goes wrong any more. */
const drainMsMax = 240_000
/** How long a run goes on after it has drained, to see that nothing comes again. */
const stillMs = 6_000
const stepMs = 250

/** What a run left behind. */
export interface Outcome {
  readonly plan: Plan
  readonly ledger: Ledger
  /** Of every topic, in the order of its partitions. */
  readonly records: ReadonlyMap<string, readonly StoredRecord[]>
  /** Dead letters that were not published again, as copies of them would name them. */
  readonly lettersLeft: ReadonlySet<string>
  readonly beganMs: number
  /** How many deliveries there were when everything was drained. */
  readonly deliveriesDrained: number
}

export class Run {
  readonly ledger: Ledger
  readonly #plan: Plan
  readonly #clock = new ManualClock()
  readonly #network: SimulatedNetwork
  readonly #broker: BrokerHost
  readonly #clients: ClientHost[] = []
  readonly #beganMs: number

  constructor(plan: Plan) {
    this.#plan = plan
    this.#beganMs = this.#clock.now()
    this.ledger = new Ledger(() => this.#clock.now())
    this.#network = new SimulatedNetwork({
      clock: this.#clock,
      seed: plan.seed,
      slowMs: 700,
      onEvent: (text) => this.#networkEvent(text),
    })
    this.#broker = new BrokerHost(plan, this.#clock, this.#network, this.ledger)
  }

  /** @throws Error when it does not drain */
  async run(): Promise<Outcome> {
    const { groups, messages, members, faults, redrives, quietMs, clients } = this.#plan
    await this.#settled(this.#broker.start())
    await this.#settled(this.#prepare())
    const plan: Plan = { ...this.#plan, members: [...members, ...this.#closers(clients)] }
    for (let i = 0; i <= clients; i++) {
      const client = new ClientHost(i, plan, this.#clock, this.#network, this.ledger)
      this.#clients.push(client)
      client.start()
    }
    for (const member of plan.members) {
      this.#at(member.joinMs, () => this.#clients[member.client].join(member))
      if (member.leaveMs !== undefined)
        this.#at(member.leaveMs, () => this.#clients[member.client].leave(member))
    }
    for (const message of messages)
      this.#at(message.atMs, () => this.#clients[message.client].publish(message))
    this.#network.faults = this.#unrest(0.2)
    for (const fault of faults) this.#at(fault.atMs, () => this.#strike(fault))
    for (const redrive of redrives) {
      this.#at(redrive.atMs, () => void this.#clients[redrive.client].redrive(redrive))
    }
    this.#at(quietMs, () => this.#calm())
    const overMs = [...faults.map(({ atMs, forMs }) => atMs + forMs), ...redrives.map(({ atMs }) => atMs)]
    const drainedBy = await this.#drain(Math.max(quietMs, ...overMs))
    this.ledger.note(`drained with ${groups.length} groups`)
    if (this.#plan.onDisk && this.#plan.durability !== 'memory' && drainedBy % 2 === 0) {
      // Longer than the longest pause after which what could not be stored is tried again.
      await this.#clock.advance(6_000)
      this.#broker.crash(this.#plan.durability === 'fsync' ? 'power cut' : 'kill', 0, 100)
    }
    await this.#clock.advance(stillMs)
    for (const client of this.#clients) await this.#settled(client.close())
    const records = await this.#settled(this.#readAll())
    const lettersLeft = await this.#settled(this.#lettersLeft())
    await this.#settled(this.#broker.stop())
    const { ledger } = this
    return { plan, ledger, records, lettersLeft, beganMs: this.#beganMs, deliveriesDrained: drainedBy }
  }

  /** Members of a healthy client that see to it that everything ends. */
  #closers(client: number): MemberPlan[] {
    const { groups, streams, quietMs } = this.#plan
    const joinMs = quietMs + 500
    const closer = (group: number): MemberPlan => ({
      client,
      group,
      joinMs,
      leaveMs: undefined,
      concurrency: 4,
      maxInFlight: 100,
      by: 'handler',
      prefetchBytes: undefined,
      named: false,
    })
    const closers = groups.map((_, group) => closer(group))
    return streams ? [...closers, closer(-1)] : closers
  }

  async #prepare(): Promise<void> {
    const { durability, partitions, dedupWindowMs, groups } = this.#plan
    const session = (await this.#broker.session()) as Session
    await session.createTopic(workTopic, { partitions, durability, dedupWindowMs })
    await session.createTopic(outTopic, { partitions: 1, durability })
    for (const { name, ...config } of groups) {
      await session.createQueue(workTopic, name, config, 'earliest')
    }
    await session.close()
  }

  #unrest(share: number): {
    loseCall: number
    loseAnswer: number
    repeat: number
    disconnect: number
    slow: number
  } {
    const rate = this.#plan.unrest * share
    return { loseCall: rate, loseAnswer: rate, repeat: rate * 2, disconnect: rate / 2, slow: rate * 2 }
  }

  #strike(fault: FaultPlan): void {
    const { kind, forMs } = fault
    const client = this.#clients[fault.client]
    switch (kind) {
      case 'network':
        this.#network.faults = this.#unrest(4)
        this.#clock.after(forMs, () => {
          if (this.ledger.nowMs < this.#plan.quietMs) this.#network.faults = this.#unrest(0.2)
        })
        break
      case 'disconnect':
        client.end.disconnect()
        break
      case 'isolate':
        client.isolate(forMs)
        break
      case 'stall':
        client.stall(forMs)
        break
      case 'vanish':
        client.vanish(forMs)
        break
      case 'kill':
      case 'power cut':
        if (this.#broker.facade !== undefined) this.#broker.crash(kind, fault.calls, forMs)
        break
      case 'restart':
        void this.#broker.restart(forMs)
        break
      case 'stall broker':
        this.#broker.stall(Math.min(forMs, 2_500))
        break
      case 'full':
        this.#broker.fill(forMs)
        break
      case 'log error':
      case 'state error':
        this.#broker.fail(kind, forMs)
        break
      case 'seek':
        void client.seek(fault.group)
        break
      case 'add partition':
        void client.addPartition()
    }
  }

  /** Nothing goes wrong any more. */
  #calm(): void {
    this.ledger.note('calm')
    this.#network.faults = {}
    this.#broker.disk.heal()
    this.#broker.disk.capacityBytes = Number.POSITIVE_INFINITY
  }

  #networkEvent(text: string): void {
    const [name, ...words] = text.split(' ')
    const what = words.join(' ')
    const at = this.ledger.note(`net ${text}`)
    this.ledger.news.note(name, what, at, this.ledger.nowMs)
    const troubled = / lost$|^link|^isolated|^vanished|^connected|^slow|be lost$/.test(what)
    if (troubled) this.ledger.troubles.push({ atMs: this.ledger.nowMs, client: clientOf(name), what })
  }

  #at(ms: number, run: () => void): void {
    this.#clock.after(ms, run)
  }

  /** @param overMs when the last fault is over @returns how many deliveries there were by then */
  async #drain(overMs: number): Promise<number> {
    await this.#clock.advance(overMs + 1_000)
    let why: string | undefined
    while (this.ledger.nowMs < overMs + drainMsMax) {
      await this.#clock.advance(stepMs)
      why = await this.#settled(this.#unfinished())
      if (why === undefined) return this.ledger.deliveries.length
    }
    throw new Error(`stuck: ${why}`)
  }

  /** What keeps the run from being drained; undefined when nothing does. */
  async #unfinished(): Promise<string | undefined> {
    const busy = this.#clients.find(({ publishes }) => publishes)
    if (busy !== undefined) return `client ${busy.index} has more to publish`
    const open = this.ledger.publishes.find(
      ({ cancel, n, atMs }) =>
        cancel === 'asked' && !this.#lostItsClient(this.#plan.messages[n].client, atMs),
    )
    if (open !== undefined) return `cancelling ${open.n} is open`
    let session: Session | undefined
    try {
      session = await this.#broker.session()
      if (session === undefined) return 'the broker is down'
      for (const { name, partitions } of await session.listTopics()) {
        if (partitions.some(({ state }) => state !== 'online')) return `${name} is not online`
      }
      const later = await session.listScheduled(workTopic)
      if (later.messages.length > 0) return `${later.messages.length} scheduled messages wait`
      for (const { name } of this.#plan.groups) {
        const { lag, partitions } = await session.describeQueue(workTopic, name)
        if (lag > 0) return `${name} lags by ${lag}: ${JSON.stringify(partitions)}`
      }
      if (!this.#plan.streams) return undefined
      const { lag } = await session.describeGroup(workTopic, streamGroup)
      return lag > 0 ? `${streamGroup} lags by ${lag}` : undefined
    } catch (error) {
      return String(error)
    } finally {
      await session?.close()
    }
  }

  #lostItsClient(client: number, atMs: number): boolean {
    return [...this.ledger.gone].some(([name, goneMs]) => clientOf(name) === client && goneMs >= atMs)
  }

  async #readAll(): Promise<ReadonlyMap<string, readonly StoredRecord[]>> {
    const session = await this.#broker.session()
    if (session === undefined) throw new Error('the broker is down at the end')
    const records = new Map<string, readonly StoredRecord[]>()
    for (const { name, id, partitions } of await session.listTopics()) {
      const found: StoredRecord[] = []
      for (let partition = 0; partition < partitions.length; partition++) {
        let offset = 0
        while (offset < partitions[partition].stableOffset) {
          const batch = await session.fetch(name, { partition, offset })
          const source = {
            topic: name,
            topicId: id,
            partition,
            expansion: { codecs: new Map(), bytesMax: 2 ** 26 },
          }
          for (const message of messagesOf(batch.bytes, source, batch.fromOffset)) {
            const { id: messageId, key, payload, headers, timestampMs } = message
            const text = utf8Text(payload)
            found.push({
              topicId: id,
              partition,
              offset: message.offset,
              n: Number(text),
              text,
              key: key === undefined ? undefined : utf8Text(key),
              id: messageId,
              timestampMs: timestampMs - this.#beganMs,
              headers,
            })
          }
          if (batch.nextOffset <= offset) throw new Error(`${name}/${partition} cannot be read at ${offset}`)
          offset = batch.nextOffset
        }
      }
      records.set(name, found)
    }
    await session.close()
    return records
  }

  async #lettersLeft(): Promise<ReadonlySet<string>> {
    const session = (await this.#broker.session()) as Session
    const left = new Set<string>()
    const ids = new Map((await session.listTopics()).map(({ name, id }) => [name, id]))
    for (const { name: group } of this.#plan.groups) {
      let after: number | undefined
      do {
        const page = await session.deadLetters(workTopic, { group, after })
        for (const { offset } of page.letters) left.add(`${ids.get(page.deadLetterTopic)}:${offset}`)
        after = page.next
      } while (after !== undefined)
    }
    await session.close()
    return left
  }

  /** Waits for what depends on microtasks and the manual clock only. */
  async #settled<T>(promise: Promise<T>): Promise<T> {
    let done = false
    const mark = (): void => {
      done = true
    }
    promise.then(mark, mark)
    await this.#clock.advance(0)
    for (let waits = 0; !done; waits++) {
      if (waits > 1_000) throw new Error('stuck: a call of the judge never settles')
      await this.#clock.advance(20)
    }
    return promise
  }
}

/** The client that a life's name tells. */
const clientOf = (name: string): number => Number(name.slice(1, name.indexOf('.')))
