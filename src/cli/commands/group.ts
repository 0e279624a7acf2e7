/** `ratatoskr group …`. */
import { type ConnectionOptions, wholeNumber, withClient } from '../connection.ts'
import { printRecord, printRows } from '../output.ts'
import { positionOf } from '../position.ts'

export const listGroups = (topic: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) =>
    printRows(
      (await client.listGroups(topic)).map((group) => ({ group })),
      ['group'],
      options.output,
    ),
  )

export const describeGroup = (topic: string, group: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) => {
    const description = await client.describeGroup(topic, group)
    if (options.output !== 'table') return printRecord(description, options.output)
    await printRecord(
      { topic: description.topic, group: description.group, state: description.state, lag: description.lag },
      'table',
    )
    process.stdout.write('\n')
    await printRows(
      description.partitions,
      ['partition', 'committedOffset', 'stableOffset', 'lag', 'member'],
      'table',
    )
  })

export const seekGroup = (
  topic: string,
  group: string,
  options: ConnectionOptions & { to: string; partition?: string },
): Promise<void> =>
  withClient(options, async (client) => {
    const partitions =
      options.partition === undefined ? undefined : [wholeNumber('--partition', options.partition, 0)]
    const offsets = await client.seek(topic, group, positionOf('--to', options.to), { partitions })
    await printRows(offsets, ['partition', 'offset'], options.output)
  })
