/**
 * Observers and guards by name, in the order of the plugin list. The lists are copied when they change and never while
 * they are called, so that asking an unused hook costs a field read and calling one costs a loop over an array.
 */
import type { GuardEvents, LogFields, Logger, ObserverEvents, ObserverOptions } from '../../ports/index.ts'

/** Whose function it is. */
export interface HookOwner {
  readonly plugin: string
  /** Place of the plugin in the list: hooks run in this order, whenever they were registered. */
  readonly order: number
  readonly logger: Logger
  /** A warning that may come at the rate of messages. */
  warnOften(message: string, fields: LogFields): void
}

/** Someone's function on a hook; disposing unhooks it. */
export interface Hooked<Event> extends Disposable {
  readonly owner: HookOwner
  /** Typed to return nothing; what a plugin written in plain JavaScript returns is checked where it is called. */
  readonly run: (event: Event) => unknown
  /** False when it never looks at the bytes of batches. */
  readonly batches: boolean
  /** Failures since it last went well. */
  failuresInRow: number
  /** False once unhooked: a call that is going round the list right now passes it over. */
  active: boolean
}

type Table<Events> = { [Name in keyof Events]: readonly Hooked<Events[Name]>[] }

const none: readonly never[] = Object.freeze([])

export class HookTable {
  readonly observers: Table<ObserverEvents> = {
    messagePublished: none,
    publishFailed: none,
    messageDelivered: none,
    messageAcked: none,
    messageRetried: none,
    messageLeaseLost: none,
    deadLettered: none,
    subscriberJoined: none,
    subscriberLeft: none,
    subscriberFailed: none,
    subscriberOverflowed: none,
    topicCreated: none,
    topicAltered: none,
    topicDeleted: none,
    connected: none,
    disconnected: none,
    connectRefused: none,
    denied: none,
    profileStarted: none,
  }
  readonly guards: Table<GuardEvents> = {
    connect: none,
    publish: none,
    subscribe: none,
    topicCreate: none,
    topicAlter: none,
    topicDelete: none,
  }

  addObserver<Name extends keyof ObserverEvents>(
    name: Name,
    owner: HookOwner,
    run: (event: ObserverEvents[Name]) => unknown,
    options?: ObserverOptions,
  ): Disposable {
    return add(this.observers, 'observer', name, owner, run, options)
  }

  addGuard<Name extends keyof GuardEvents>(
    name: Name,
    owner: HookOwner,
    run: (event: GuardEvents[Name]) => unknown,
  ): Disposable {
    return add(this.guards, 'guard', name, owner, run)
  }
}

/** @throws TypeError when there is no such hook or `run` is no function */
function add<Events, Name extends keyof Events & string>(
  table: Table<Events>,
  what: string,
  name: Name,
  owner: HookOwner,
  run: (event: Events[Name]) => unknown,
  { batches = true }: ObserverOptions = {},
): Disposable {
  if (!Object.hasOwn(table, name)) {
    throw new TypeError(`there is no ${what} "${String(name)}"; there are ${Object.keys(table).join(', ')}`)
  }
  if (typeof run !== 'function')
    throw new TypeError(`${what} "${name}" must be a function, got ${typeof run}`)
  const hooked: Hooked<Events[Name]> = {
    owner,
    run,
    batches,
    failuresInRow: 0,
    active: true,
    [Symbol.dispose]: () => {
      hooked.active = false
      const rest = table[name].filter((other) => other !== hooked)
      table[name] = rest.length === 0 ? none : rest
    },
  }
  const list: readonly Hooked<Events[Name]>[] = table[name]
  const place = list.findLastIndex((other) => other.owner.order <= owner.order) + 1
  table[name] = list.toSpliced(place, 0, hooked)
  return hooked
}
