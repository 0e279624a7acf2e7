/** Which URLs `connect` takes, and what it says of others. */
import { expect, it } from 'vitest'
import { connect } from './connect.ts'

it.each([
  ['localhost:50051', /such as grpc:\/\/localhost:50051/],
  ['tcp://localhost:1', /grpcs/],
  ['grpc://', /names no host/],
  ['grpcs://', /names no host/],
  ['grpcs://127.0.0.1:1', /certificates/],
])('refuses %s and says what to write', async (url, message) => {
  await expect(connect(url)).rejects.toMatchObject({
    code: 'RTK_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  })
})
