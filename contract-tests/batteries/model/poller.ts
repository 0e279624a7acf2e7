/** Calls that take by polling, each of them as a member of its own: what it was given is held against the model as well. */
import { isRatatoskrError, type LeasedBatch, type Settlement } from 'ratatoskr/ports'
import { broken } from './broken.ts'
import type { ExpectedResult } from './expected.ts'
import { CreditModel, type GroupModel, type MemberModel } from './group.ts'
import { topicName, type World } from './world.ts'

export interface TakeOptions {
  readonly messagesMax: number
  readonly bytesMax: number | undefined
}

/** How often one who finds nothing asks: letters of one key are stored one after the other. */
const callsMax = 12

export class Poller {
  readonly group: GroupModel
  readonly batches: readonly LeasedBatch[]
  readonly #world: World

  private constructor(world: World, group: GroupModel, batches: readonly LeasedBatch[]) {
    this.#world = world
    this.group = group
    this.batches = batches
  }

  /**
   * Takes, without waiting. Who finds nothing asks again, for what is just being buried may have been in the way.
   * @throws Error when what comes breaks a promise, or nothing comes and something should
   */
  static async take(world: World, group: GroupModel, options: TakeOptions): Promise<Poller> {
    for (let asked = 1; ; asked++) {
      const poller = await Poller.#takeOnce(world, group, options, asked === callsMax)
      if (poller.batches.length > 0 || asked === callsMax) return poller
    }
  }

  static async #takeOnce(
    world: World,
    group: GroupModel,
    { messagesMax, bytesMax }: TakeOptions,
    mustFind: boolean,
  ): Promise<Poller> {
    const model: MemberModel = {
      number: ++world.membersMade,
      name: `poller ${world.membersMade}`,
      autoAck: false,
      begins: false,
      polls: true,
      credit: new CreditModel(),
      assigned: new Set(),
      full: false,
      seenMs: world.nowMs,
      over: false,
    }
    model.credit.grant({ messages: messagesMax, bytes: bytesMax })
    const sinceLeases = group.partitions.map(({ lastLease }) => lastLease)
    const request = { group: group.name, messagesMax, bytesMax, waitMs: 0 }
    group.taking = true
    const { batches } = await world.done(world.session.take(topicName, request))
    group.taking = false
    for (const batch of batches) group.delivered(model, batch, world.nowMs, sinceLeases[batch.partition])
    if (batches.length === 0 && mustFind && world.calm) group.assertNothingFor(model, world.nowMs)
    return new Poller(world, group, batches)
  }

  /** @throws Error when the broker does something else than the model */
  async settle(settlements: readonly Settlement[]): Promise<void> {
    const { group } = this
    await settleAsExpected(group, settlements, this.#world.nowMs, () =>
      this.#world.session.settle(topicName, { group: group.name, settlements }),
    )
  }
}

/** Settles, and compares what the broker answers with what the model says. @throws Error when they differ */
export async function settleAsExpected(
  group: GroupModel,
  settlements: readonly Settlement[],
  nowMs: number,
  send: () => ReturnType<World['session']['settle']>,
): Promise<void> {
  // The model first: what follows from it is told within the call.
  const expected = settlements.map((one): ExpectedResult => group.partition(one.partition).settle(one, nowMs))
  for (const [i, result] of (await send()).entries()) {
    const { settled, lost, unsure } = expected[i]
    const told = `settlement ${JSON.stringify(settlements[i])} was answered ${result?.message ?? 'done'}`
    if (result === undefined ? lost > 0 : lost + unsure === 0) {
      throw broken(`${told}, and ${lost} messages are lost to the model`)
    }
    if (result === undefined) continue
    if (!isRatatoskrError(result, 'RTK_LEASE_LOST')) throw result
    if (result.details?.settled !== settled) {
      throw broken(`${told} with ${String(result.details?.settled)} settled instead of ${settled}`)
    }
  }
}
