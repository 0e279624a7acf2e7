/** One client's process: publishes what the plan says, handles what it is given, vanishes and comes back. */
import { type ClientMessage, connect, isRatatoskrError, type Subscription } from 'ratatoskr/client'
import {
  type ManualClock,
  type NetworkEnd,
  ProcessClock,
  type SimulatedNetwork,
} from 'ratatoskr/contract-tests'
import { type ErrorCode, utf8Text } from 'ratatoskr/ports'
import { platformOf } from './broker-host.ts'
import type { DeliveryFact, Ledger, PublishFact } from './ledger.ts'
import type { Behaviour, MemberPlan, MessagePlan, Plan } from './plan.ts'

type Client = Awaited<ReturnType<typeof connect>>
type Producer = ReturnType<Client['producer']>

export const workTopic = 'work'
export const outTopic = 'out'
export const streamGroup = 'stream'

const codeOf = (error: unknown): ErrorCode => (isRatatoskrError(error) ? error.code : 'RTK_INTERNAL')

export class ClientHost {
  readonly index: number
  readonly #plan: Plan
  readonly #world: ManualClock
  readonly #network: SimulatedNetwork
  readonly #ledger: Ledger
  #life = 0
  #process: ProcessClock
  #end: NetworkEnd
  #client: Client | undefined
  #producer: Producer | undefined
  #opened: Promise<void> = Promise.resolve()
  readonly #open = new Map<MemberPlan, { close(): Promise<void> }>()
  /** Members of this life that are in, or on their way. */
  #joining = new Set<MemberPlan>()
  /** Messages that this life publishes, or will publish once more. */
  #publishing = new Set<MessagePlan>()

  constructor(index: number, plan: Plan, world: ManualClock, network: SimulatedNetwork, ledger: Ledger) {
    this.index = index
    this.#plan = plan
    this.#world = world
    this.#network = network
    this.#ledger = ledger
    this.#process = new ProcessClock(world)
    this.#end = network.end(this.#name)
  }

  get end(): NetworkEnd {
    return this.#end
  }

  get alive(): boolean {
    return !this.#process.killed
  }

  /** True while it has something to publish, now or later. */
  get publishes(): boolean {
    return this.#publishing.size > 0
  }

  get #name(): string {
    return `c${this.index}.${this.#life}`
  }

  /** Begins a life: connects as soon as somebody answers. */
  start(): void {
    this.#life++
    this.#process = new ProcessClock(this.#world)
    this.#end = this.#network.end(this.#name)
    this.#opened = this.#connect()
    for (const member of this.#plan.members) {
      if (member.client === this.index && member.joinMs <= this.#ledger.nowMs) this.join(member)
    }
  }

  /** The process is gone, and comes back after a while. */
  vanish(forMs: number): void {
    if (!this.alive) return
    this.#ledger.trouble(this.index, 'vanishes')
    this.#ledger.gone.set(this.#name, this.#ledger.nowMs)
    this.#process.kill()
    this.#end.vanish()
    this.#open.clear()
    this.#joining = new Set()
    this.#publishing = new Set()
    this.#client = undefined
    this.#producer = undefined
    this.#world.after(forMs, () => this.start())
  }

  stall(forMs: number): void {
    this.#ledger.trouble(this.index, `stalls for ${forMs}`)
    const { nowMs } = this.#ledger
    this.#ledger.stalls.push({ client: this.index, fromMs: nowMs, toMs: nowMs + forMs })
    this.#process.stall(forMs)
    this.#world.after(forMs, () => this.#ledger.trouble(this.index, 'stalled'))
  }

  isolate(forMs: number): void {
    const end = this.#end
    end.isolate()
    this.#world.after(forMs, () => end.rejoin())
  }

  /** Ends it in order. */
  async close(): Promise<void> {
    await this.#client?.close()
    this.#process.kill()
  }

  publish(message: MessagePlan): void {
    if (this.alive) void this.#publish(message)
  }

  /** Becomes a member, again and again until that works. */
  join(member: MemberPlan): void {
    const joining = this.#joining
    if (!this.alive || joining.has(member)) return
    joining.add(member)
    void this.#join(member).finally(() => joining.delete(member))
  }

  leave(member: MemberPlan): void {
    const open = this.#open.get(member)
    if (open === undefined || !this.alive) return
    this.#ledger.trouble(this.index, `leaves ${member.group}`)
    this.#open.delete(member)
    void open.close().catch(() => {})
  }

  async seek(group: number): Promise<void> {
    const client = this.#client
    if (client === undefined) return
    const fact: Ledger['seeks'][number] = { group, fromMs: this.#ledger.nowMs }
    this.#ledger.seeks.push(fact)
    this.#ledger.note(`${this.#name} seeks ${group}`)
    try {
      await client.seek(workTopic, this.#plan.groups[group].name, 'earliest')
      fact.toMs = this.#ledger.nowMs
      this.#ledger.note(`sought ${group}`)
    } catch (error) {
      this.#ledger.note(`seek ${group} ${codeOf(error)}`)
    }
  }

  async addPartition(): Promise<void> {
    this.#ledger.note('one more partition')
    await this.#client?.alterTopic(workTopic, { partitions: this.#plan.partitions + 1 }).catch(() => {})
  }

  async #connect(): Promise<void> {
    const process = this.#process
    const platform = platformOf(this.#plan.seed * 31 + this.index * 7 + this.#life * 1_009, process)
    const { openLink } = this.#end
    while (!process.killed) {
      try {
        const client = await connect('sim://broker', { openLink, platform })
        const idempotent = this.#plan.idempotent[this.index] ?? true
        this.#client = client
        this.#producer = client.producer({ idempotent, timeoutMs: this.index % 2 === 0 ? 4_000 : 20_000 })
        this.#ledger.note(`${this.#name} connected`)
        return
      } catch {
        await this.#sleep(process, 200)
      }
    }
  }

  #sleep(process: ProcessClock, ms: number): Promise<void> {
    return new Promise((resolve) => {
      process.after(ms, resolve)
    })
  }

  async #publish(message: MessagePlan): Promise<void> {
    const publishing = this.#publishing.add(message)
    await this.#opened
    const process = this.#process
    const ledger = this.#ledger
    const { n, key, ttlMs, delayMs, id, cancelMs, againMs } = message
    const publish = async (): Promise<void> => {
      const nowMs = process.now()
      const fact: PublishFact = {
        n,
        atMs: ledger.nowMs,
        producer: this.#name,
        idempotent: this.#plan.idempotent[this.index] ?? true,
        scheduledForMs: delayMs === undefined ? undefined : nowMs + delayMs,
      }
      ledger.publishes.push(fact)
      ledger.note(`publish ${n}`)
      if (cancelMs !== undefined && id !== undefined) this.#cancelLater(id, cancelMs, fact)
      const when = fact.scheduledForMs
      try {
        const receipt = await this.#producer?.publish(workTopic, `${n}`, {
          key,
          ttlMs,
          id,
          deliverAtMs: when,
        })
        fact.outcome = 'stored'
        fact.partition = receipt?.partition
        fact.offset = receipt?.offset
        fact.duplicate = receipt?.duplicate ?? false
      } catch (error) {
        fact.outcome = codeOf(error)
      }
      ledger.note(`published ${n} ${fact.outcome} ${fact.partition}:${fact.offset} ${fact.duplicate}`)
    }
    await publish()
    if (againMs !== undefined) {
      await this.#sleep(process, againMs)
      await publish()
    }
    publishing.delete(message)
  }

  #cancelLater(id: string, cancelMs: number, fact: PublishFact): void {
    this.#process.after(cancelMs, async () => {
      fact.cancel = 'asked'
      this.#ledger.note(`cancel ${fact.n}`)
      try {
        const taken = await this.#client?.cancelScheduled(workTopic, id)
        fact.cancel = taken === true ? 'taken back' : 'not there'
      } catch (error) {
        fact.cancel = codeOf(error)
      }
      this.#ledger.note(`cancelled ${fact.n} ${fact.cancel}`)
    })
  }

  async #join(member: MemberPlan): Promise<void> {
    const life = this.#life
    await this.#opened
    const process = this.#process
    while (life === this.#life && !process.killed && !this.#open.has(member) && !this.#hasLeft(member)) {
      try {
        const closed = member.group === -1 ? await this.#stream(member) : await this.#consume(member)
        if (closed === undefined) return
        this.#ledger.note(`${this.#name} ended ${member.group} ${closed}`)
      } catch (error) {
        this.#ledger.note(`${this.#name} cannot join ${member.group}: ${codeOf(error)}`)
      }
      this.#open.delete(member)
      await this.#sleep(process, 300)
    }
  }

  #hasLeft({ leaveMs }: MemberPlan): boolean {
    return leaveMs !== undefined && leaveMs <= this.#ledger.nowMs
  }

  /** @returns why it ended; undefined when it was closed */
  async #consume(member: MemberPlan): Promise<string | undefined> {
    const client = this.#client as Client
    const { name } = this.#plan.groups[member.group]
    const { concurrency, maxInFlight } = member
    const memberName = member.named ? `member${this.#plan.members.indexOf(member)}` : undefined
    const options = { group: name, member: memberName, maxInFlight }
    const who = `${this.#name}/${this.#plan.members.indexOf(member)}`
    const handle = (message: ClientMessage): Promise<void> => this.#handle(message, member, who)
    const subscription = member.iterates
      ? await client.subscribe(workTopic, options)
      : await client.subscribe(workTopic, handle, { ...options, concurrency })
    this.#open.set(member, subscription)
    this.#ledger.note(`${who} joined ${name}`)
    if (member.iterates) void this.#iterate(subscription, member, who)
    const reason = await subscription.closed
    return reason?.code
  }

  async #iterate(subscription: Subscription, member: MemberPlan, who: string): Promise<void> {
    try {
      for await (const message of subscription) {
        // What a loop does not settle itself is acknowledged when it asks for the next.
        await this.#handle(message, member, who).catch((reason: unknown) => void message.nack({ reason }))
      }
    } catch (error) {
      this.#ledger.note(`${who} loop ended: ${codeOf(error)}`)
    }
  }

  async #handle(message: ClientMessage, { group }: MemberPlan, member: string): Promise<void> {
    const ledger = this.#ledger
    const n = Number(message.text())
    const behaviour = this.#behaviourOf(n, group)
    const { partition, offset, lease, attempt, redelivered } = message
    const at = ledger.note(
      `${member} handles ${group} ${partition}:${offset} #${n} l${lease} a${attempt} ${redelivered}`,
    )
    const fact: DeliveryFact = {
      group,
      n,
      partition,
      offset,
      key: message.keyText(),
      lease,
      attempt,
      redelivered,
      client: this.index,
      member,
      startMs: ledger.nowMs,
      at,
    }
    ledger.deliveries.push(fact)
    message.signal.addEventListener('abort', () => {
      fact.lostMs ??= ledger.nowMs
      ledger.note(`${member} lost ${group} ${partition}:${offset}`)
    })
    await this.#sleep(this.#process, behaviour.takesMs)
    if (behaviour.publishes) await this.#output(message, fact)
    this.#finish(message, fact, behaviour)
  }

  #behaviourOf(n: number, group: number): Behaviour {
    return this.#plan.messages[n]?.behaviours[group] ?? easy
  }

  /** The work of a handler is a publish that counts only while the lease is held. */
  async #output(message: ClientMessage, of: DeliveryFact): Promise<void> {
    const output: Ledger['outputs'][number] = { of }
    this.#ledger.outputs.push(output)
    const text = `${of.group} ${of.partition} ${of.offset} ${of.lease}`
    try {
      const receipt = await this.#producer?.publish(outTopic, text, { lease: message.leaseProof })
      output.outcome = 'stored'
      output.offset = receipt?.offset
    } catch (error) {
      output.outcome = codeOf(error)
    }
    this.#ledger.note(`output ${text} ${output.outcome}`)
  }

  #finish(message: ClientMessage, fact: DeliveryFact, behaviour: Behaviour): void {
    const { fails, how, nackDelayMs, asks } = behaviour
    const failing = message.attempt <= fails
    const releases = how === 'release' && fact.attempt === 1 && !this.#released(fact)
    fact.end = !failing
      ? 'ack'
      : how === 'throw'
        ? 'nack'
        : how === 'release'
          ? releases
            ? 'release'
            : 'ack'
          : how
    fact.endMs = this.#ledger.nowMs
    fact.endAt = this.#ledger.note(
      `${fact.member} ${fact.end} ${fact.group} ${fact.partition}:${fact.offset}`,
    )
    if (fact.end === 'nack') {
      fact.againMs = fact.endMs + (how === 'nack' ? nackDelayMs : this.#retryMs(fact))
    }
    if (fact.end === 'nack' && how === 'throw') {
      if (asks) this.#ask(message.nack({ reason: 'failed' }), fact)
      throw new Error('failed')
    }
    if (fact.end === 'ack' && !asks) return
    const answer =
      fact.end === 'ack'
        ? message.ack()
        : fact.end === 'nack'
          ? message.nack({ delayMs: nackDelayMs, reason: 'later' })
          : fact.end === 'terminate'
            ? message.terminate('hopeless')
            : message.release()
    this.#ask(answer, fact)
  }

  /** A message is given back once: otherwise it would come and go without end. */
  #released(fact: DeliveryFact): boolean {
    return this.#ledger.deliveries.some(
      ({ group, partition, offset, end }) =>
        end === 'release' && group === fact.group && partition === fact.partition && offset === fact.offset,
    )
  }

  #retryMs({ group, attempt }: DeliveryFact): number {
    const { retry } = this.#plan.groups[group]
    return retry.kind === 'fixed'
      ? retry.delayMs
      : retry.delaysMs[Math.min(attempt, retry.delaysMs.length) - 1]
  }

  #ask(answer: Promise<void>, fact: DeliveryFact): void {
    const answered = (outcome: DeliveryFact['answer']): void => {
      if (this.#ledger.gone.has(fact.member.slice(0, fact.member.indexOf('/')))) return
      fact.answer = outcome
      fact.answerMs = this.#ledger.nowMs
      this.#ledger.note(`${fact.member} answer ${fact.group} ${fact.partition}:${fact.offset} ${outcome}`)
    }
    answer.then(
      () => answered('done'),
      (error: unknown) => answered(codeOf(error)),
    )
  }

  /** @returns why it ended; undefined when it was closed */
  async #stream(member: MemberPlan): Promise<string | undefined> {
    const client = this.#client as Client
    const who = `${this.#name}/${this.#plan.members.indexOf(member)}`
    const subscription = await client.batches(workTopic, { group: streamGroup })
    this.#open.set(member, subscription)
    this.#ledger.note(`${who} joined ${streamGroup}`)
    try {
      for await (const batch of subscription) {
        const { partition } = batch
        for (const record of batch.records()) {
          const { offset } = record
          const n = Number(utf8Text(record.bytes.subarray(record.valueStart, record.valueEnd)))
          this.#ledger.note(`${who} reads ${partition}:${offset} #${n}`)
          this.#ledger.streamed.push({ partition, offset, n, atMs: this.#ledger.nowMs, member: who })
        }
        if (batch.nextOffset % 3 === 0) await this.#sleep(this.#process, 30)
        batch.ack()
      }
      return undefined
    } catch (error) {
      return codeOf(error)
    }
  }
}

const easy: Behaviour = {
  takesMs: 1,
  fails: 0,
  how: 'throw',
  nackDelayMs: 0,
  asks: true,
  publishes: false,
}
