/** One client's process: publishes what the plan says, handles what it is given, vanishes and comes back. */
import { type ClientMessage, connect, type Subscription } from 'ratatoskr/client'
import {
  type ManualClock,
  type NetworkEnd,
  ProcessClock,
  type SimulatedNetwork,
} from 'ratatoskr/contract-tests'
import { utf8Text } from 'ratatoskr/ports'
import { platformOf } from './broker-host.ts'
import { codeOf, Handling, sleep } from './handling.ts'
import type { Ledger, PublishFact } from './ledger.ts'
import { streamGroup, workTopic } from './names.ts'
import type { MemberPlan, MessagePlan, Plan, RedrivePlan } from './plan.ts'
import { Poller } from './poller.ts'

type Client = Awaited<ReturnType<typeof connect>>
type Producer = ReturnType<Client['producer']>

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
  #handling: Handling
  #opened: Promise<void> = Promise.resolve()
  readonly #open = new Map<MemberPlan, { close(): Promise<void> }>()
  /** Members of this life that are in, or on their way. */
  #joining = new Set<MemberPlan>()
  /** Messages that this life publishes, or will publish once more. */
  #publishing = new Set<MessagePlan>()
  /** Redrives of this life that are under way. */
  #redriving = 0

  constructor(index: number, plan: Plan, world: ManualClock, network: SimulatedNetwork, ledger: Ledger) {
    this.index = index
    this.#plan = plan
    this.#world = world
    this.#network = network
    this.#ledger = ledger
    this.#process = new ProcessClock(world)
    this.#end = network.end(this.#name)
    this.#handling = this.#newHandling()
  }

  get end(): NetworkEnd {
    return this.#end
  }

  get alive(): boolean {
    return !this.#process.killed
  }

  /** True while it has something to publish, now or later. */
  get publishes(): boolean {
    return this.#publishing.size > 0 || this.#redriving > 0
  }

  get #name(): string {
    return `c${this.index}.${this.#life}`
  }

  /** Begins a life: connects as soon as somebody answers. */
  start(): void {
    this.#life++
    this.#process = new ProcessClock(this.#world)
    this.#end = this.#network.end(this.#name)
    this.#handling = this.#newHandling()
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
    if (this.#redriving > 0)
      for (const { name } of this.#plan.groups) this.#ledger.interruptedRedrives.add(name)
    this.#process.kill()
    this.#end.vanish()
    this.#open.clear()
    this.#joining = new Set()
    this.#publishing = new Set()
    this.#redriving = 0
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

  /** Publishes the dead letters of a group again. */
  async redrive({ group, everyGroup }: RedrivePlan): Promise<void> {
    const client = this.#client
    const life = this.#life
    if (client === undefined || !this.alive) return
    const { name } = this.#plan.groups[group]
    this.#redriving++
    this.#ledger.note(`${this.#name} redrives ${name}`)
    try {
      const { redriven } = await client.redriveDeadLetters(workTopic, { group: name, everyGroup })
      this.#ledger.redriven += redriven
      this.#ledger.note(`redriven ${name} ${redriven}`)
    } catch (error) {
      this.#ledger.interruptedRedrives.add(name)
      this.#ledger.note(`redrive ${name} ${codeOf(error)}`)
    }
    if (life === this.#life) this.#redriving--
  }

  async addPartition(): Promise<void> {
    this.#ledger.note('one more partition')
    await this.#client?.alterTopic(workTopic, { partitions: this.#plan.partitions + 1 }).catch(() => {})
  }

  #newHandling(): Handling {
    return new Handling({
      plan: this.#plan,
      ledger: this.#ledger,
      client: this.index,
      process: this.#process,
      // Handlers of a life that is over never get there: its clock stands still.
      publish: (topic, text, options) => (this.#producer as Producer).publish(topic, text, options),
    })
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
        await sleep(process, 200)
      }
    }
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
      await sleep(process, againMs)
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
      await sleep(process, 300)
    }
  }

  #hasLeft({ leaveMs }: MemberPlan): boolean {
    return leaveMs !== undefined && leaveMs <= this.#ledger.nowMs
  }

  /** @returns why it ended; undefined when it was closed */
  async #consume(member: MemberPlan): Promise<string | undefined> {
    const client = this.#client as Client
    const { name, sharing } = this.#plan.groups[member.group]
    const { by, concurrency, maxInFlight, prefetchBytes } = member
    // Without names, all who poll would be one member where members own partitions.
    const isNamed = member.named || (by === 'polling' && sharing === 'partitioned')
    const memberName = isNamed ? `member${this.#plan.members.indexOf(member)}` : undefined
    const who = `${this.#name}/${this.#plan.members.indexOf(member)}`
    const handling = this.#handling
    if (by === 'polling') {
      const poller = new Poller({
        client,
        process: this.#process,
        handling,
        member,
        group: name,
        who,
        name: memberName,
      })
      this.#open.set(member, poller)
      return await poller.run(this.#plan.memberTimeoutMs, this.#ledger)
    }
    const delivery = by === 'once' ? ('at-most-once' as const) : undefined
    const options = { group: name, member: memberName, maxInFlight, prefetchBytes, delivery }
    const handle = (message: ClientMessage): Promise<void> => handling.handle(message, member, who)
    const subscription =
      by === 'loop'
        ? await client.subscribe(workTopic, options)
        : await client.subscribe(workTopic, handle, { ...options, concurrency })
    this.#open.set(member, subscription)
    this.#ledger.note(`${who} joined ${name}`)
    if (by === 'loop') void this.#iterate(subscription, member, who)
    const reason = await subscription.closed
    return reason?.code
  }

  async #iterate(subscription: Subscription, member: MemberPlan, who: string): Promise<void> {
    const handling = this.#handling
    try {
      for await (const message of subscription) {
        // What a loop does not settle itself is acknowledged when it asks for the next.
        await handling.handle(message, member, who).catch((reason: unknown) => void message.nack({ reason }))
      }
    } catch (error) {
      this.#ledger.note(`${who} loop ended: ${codeOf(error)}`)
    }
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
        if (batch.nextOffset % 3 === 0) await sleep(this.#process, 30)
        batch.ack()
      }
      return undefined
    } catch (error) {
      return codeOf(error)
    }
  }
}
