import { describe, expect, it } from 'vitest'
import { readFields } from './json.ts'
import {
  commitShape,
  fetchShape,
  groupFetchShape,
  jsonDurability,
  jsonEncoding,
  seekShape,
  startPositionFromJson,
  subscribeShape,
} from './requests-json.ts'

describe('requests as JSON', () => {
  it.each([
    'earliest',
    'latest',
    { offset: 5 },
    { timestampMs: 1_700_000_000_000 },
    { offsets: [{ partition: 0, offset: 5 }] },
    { offsets: [], otherwise: 'latest' },
  ])('takes the start position %j as it is', (position) => {
    expect(startPositionFromJson(position, 'from')).toEqual(position)
  })

  it.each([
    ['first', 'from must be "earliest", "latest"'],
    [5, 'got 5'],
    [undefined, 'from is missing'],
    [{ offset: -1 }, 'from.offset must be a whole number'],
    [{ offset: 1, timestampMs: 1 }, 'unknown field "from.timestampMs"'],
    [{ offsets: [{ partition: 0 }] }, 'from.offsets[0].offset is missing'],
    [{ offsets: [], otherwise: 'now' }, 'from.otherwise must be one of earliest, latest'],
    [{}, 'from.offsets is missing'],
  ])('refuses the start position %j', (position, message) => {
    expect(() => startPositionFromJson(position, 'from')).toThrow(message)
  })

  it('reads subscriptions, fetches, commits and seeks', () => {
    const subscribe = { group: 'g', from: 'latest', partitions: [0, 1], credit: { bytes: 5 } }
    expect(readFields(subscribe, subscribeShape)).toEqual(subscribe)
    expect(() => readFields({ credit: { bites: 5 } }, subscribeShape)).toThrow('did you mean bytes?')

    const fetch = { partition: 0, offset: 'earliest', bytesMax: 1, waitMs: 0 }
    expect(readFields(fetch, fetchShape)).toEqual(fetch)
    expect(readFields({ partition: 0, offset: 9 }, fetchShape)).toEqual({ partition: 0, offset: 9 })
    expect(() => readFields({ partition: 0, offset: 'now' }, fetchShape)).toThrow(
      'offset must be a whole number',
    )

    const group = { group: 'g', positions: [{ partition: 0, offset: 3 }], messagesMax: 10 }
    expect(readFields(group, groupFetchShape)).toEqual(group)
    expect(() => readFields({ group: 'g', messagesMax: 0 }, groupFetchShape)).toThrow('messagesMax')

    const commit = { group: 'g', member: 'm', offsets: [{ partition: 0, offset: 3, metadata: 'x' }] }
    expect(readFields(commit, commitShape)).toEqual(commit)
    expect(readFields({ position: { offset: 1 }, partitions: [2] }, seekShape)).toEqual({
      position: { offset: 1 },
      partitions: [2],
    })
  })

  it('names the levels and encodings there are', () => {
    expect(jsonDurability('fsync', 'durability')).toBe('fsync')
    expect(() => jsonDurability('disk', 'durability')).toThrow('memory, os, interval, fsync, quorum')
    expect(jsonEncoding('json', 'encoding')).toBe('json')
    expect(() => jsonEncoding('hex', 'encoding')).toThrow('base64, utf8, json')
  })
})
