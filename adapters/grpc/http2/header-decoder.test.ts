/** Headers as clients compress them: by the examples of RFC 7541, and as node:http2 does it. */
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rounds } from '../../../src/testing/rounds.ts'
import { Http2Error, http2Error } from './errors.ts'
import { FrameParser } from './frame-parser.ts'
import { flag, frameOf, frameType } from './frames.ts'
import { headerBlock } from './header-block.ts'
import { HeaderDecoder } from './header-decoder.ts'
import { huffmanCodes } from './hpack-tables.ts'
import { huffmanText } from './huffman.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('the examples of RFC 7541', () => {
  it.each([
    [
      'without Huffman codes (C.3)',
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
    [
      'with Huffman codes (C.4)',
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  ])('%s', (_, first, second, third) => {
    const decoder = new HeaderDecoder()
    const request = { ':method': 'GET', ':scheme': 'http', ':path': '/', ':authority': 'www.example.com' }
    expect({ ...decoder.decode(hex(first)) }).toEqual(request)
    // Its second time in the same table, which is read by heart after the first.
    const again = { ...request, 'cache-control': 'no-cache' }
    expect({ ...decoder.decode(hex(second)) }).toEqual(again)
    expect({ ...decoder.decode(hex(third)) }).toEqual({
      ':method': 'GET',
      ':scheme': 'https',
      ':path': '/index.html',
      ':authority': 'www.example.com',
      'custom-key': 'custom-value',
    })
  })
})

it('a block that is known is read again when the table has changed', () => {
  const decoder = new HeaderDecoder()
  const begin = hex('8286 84')
  const insert = (value: string): Buffer =>
    Buffer.concat([begin, hex('4001 6b'), Buffer.of(value.length), Buffer.from(value)])
  const newest = Buffer.concat([begin, hex('be')])
  decoder.decode(insert('one'))
  expect(decoder.decode(newest).k).toBe('one')
  expect(decoder.decode(newest)).toBe(decoder.decode(newest))
  decoder.decode(insert('two'))
  expect(decoder.decode(newest).k).toBe('two')
  // The table is emptied: the entry is gone.
  decoder.decode(Buffer.concat([hex('20'), begin]))
  expect(() => decoder.decode(newest)).toThrow(Http2Error)
})

it.each<[string, string]>([
  ['a number without end', '82ff ffff ffff 7f'],
  ['a number cut short', 'ff'],
  ['a header that there is not', 'c0'],
  ['header 0', '80'],
  ['a text cut short', '4001 6b05 61'],
  ['a text without length', '4001 6b'],
  ['a table larger than was agreed on', '3fe2 1f'],
  ['a table that changes late', '8220'],
  ['an end within a text', '4001 6b84 ffff ffff'],
  ['zeros behind a text', '4001 6b81 00'],
  ['more than 7 bits behind a text', '4001 6b82 1fff ff'],
])('%s ends the connection', (_, block) => {
  const decode = () => new HeaderDecoder().decode(hex(block))
  expect(decode).toThrow(expect.objectContaining({ code: http2Error.COMPRESSION_ERROR, isOfStream: false }))
})

/** In the codes as they are, bit by bit. */
function coded(bytes: Uint8Array): Buffer {
  let bits = ''
  for (const byte of bytes) {
    const length = huffmanCodes.findIndex(({ symbols }) => symbols.includes(byte))
    const { first, symbols } = huffmanCodes[length]
    bits += (first + symbols.indexOf(byte)).toString(2).padStart(length, '0')
  }
  const octets = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1').match(/.{8}/g) ?? []
  return Buffer.from(octets.map((octet) => Number.parseInt(octet, 2)))
}

it('texts of all octets are read from their Huffman codes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(huffmanText(coded(bytes))).toBe(Buffer.from(bytes).toString('latin1'))
    }),
    { numRuns: rounds(2_000, 200) },
  )
  const every = Uint8Array.from({ length: 256 }, (_, octet) => octet)
  expect(huffmanText(coded(every))).toBe(Buffer.from(every).toString('latin1'))
})

it('more headers than a call has end the connection', () => {
  const block = Buffer.concat([hex('8286 84'), Buffer.alloc(200, 0x88)])
  expect(() => new HeaderDecoder().decode(block)).toThrow(
    expect.objectContaining({ code: http2Error.ENHANCE_YOUR_CALM }),
  )
})

it('noise throws nothing else', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HeaderDecoder()
      for (const block of blocks) {
        try {
          decoder.decode(block)
        } catch (error) {
          expect(error).toBeInstanceOf(Http2Error)
        }
      }
    }),
    { numRuns: rounds(2_000, 200) },
  )
})

const name = fc.stringMatching(/^x-[a-z0-9_.-]{1,20}$/)
const value = fc.stringMatching(/^[!-~]([ -~]{0,300}[!-~])?$/)
const requests = fc.array(fc.dictionary(name, value, { maxKeys: 12 }), { minLength: 1, maxLength: 12 })

it('what node:http2 compresses is read as it was', { timeout: 30_000 }, async () => {
  const came: Record<string, unknown>[] = []
  let wake: () => void = () => undefined
  const server = net.createServer((socket) => {
    const decoder = new HeaderDecoder()
    let block = Buffer.alloc(0)
    const parser = new FrameParser({
      data: () => undefined,
      frame: (type, flags, _, payload) => {
        if (type !== frameType.HEADERS && type !== frameType.CONTINUATION) return
        const priority = type === frameType.HEADERS && (flags & flag.PRIORITY) !== 0 ? 5 : 0
        block = Buffer.concat([block, payload.subarray(priority)])
        if ((flags & flag.END_HEADERS) === 0) return
        came.push({ ...decoder.decode(block) })
        block = Buffer.alloc(0)
        wake()
      },
    })
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => parser.push(chunk))
    socket.write(frameOf(frameType.SETTINGS, 0, 0, Buffer.alloc(0)))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as net.AddressInfo
  await fc.assert(
    fc.asyncProperty(requests, async (list) => {
      came.length = 0
      const session = http2.connect(`http://127.0.0.1:${port}`)
      session.on('error', () => undefined)
      for (const headers of list)
        session.request({ ':method': 'POST', ':path': '/a', ...headers }).on('error', () => undefined)
      while (came.length < list.length) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      session.destroy()
      for (const [place, headers] of list.entries()) expect(came[place]).toMatchObject(headers)
    }),
    { numRuns: rounds(100, 10) },
  )
  server.close()
})

it('what is written is read as it was', () => {
  const headers = {
    'content-type': 'application/grpc',
    'grpc-status': 5,
    'x-long': 'y'.repeat(300),
    'x-%': 'ü%20',
  }
  const block = Buffer.concat([hex('8286 84'), headerBlock(headers)])
  expect({ ...new HeaderDecoder().decode(block) }).toMatchObject({ ...headers, 'grpc-status': '5' })
})
