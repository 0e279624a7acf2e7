/** Which URLs `connect` takes, and what it says of others. */
import { expect, it } from 'vitest'
import { connect } from './connect.ts'

it.each([
  ['localhost:50051', /such as grpc:\/\/localhost:50051/],
  ['amqp://localhost:1', /grpcs.*tcp.*unix/],
  ['tcp://', /names no host.*tcp:\/\/localhost:7282/],
  ['tcps:', /names no host/],
  ['unix:', /names no path.*unix:\/run/],
  ['unix://host/path', /names no path/],
  ['grpc://', /names no host/],
  ['grpcs://', /names no host/],
  ['grpcs://127.0.0.1:1', /certificates/],
])('refuses %s and says what to write', async (url, message) => {
  await expect(connect(url)).rejects.toMatchObject({
    code: 'RTK_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  })
})
