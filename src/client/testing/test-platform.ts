import { type Platform, portableCrc32c } from '../../ports/index.ts'

/** A platform without any waiting of its own: the test's clock, repeatable randomness, and no log. */
export function testPlatform(clock: Platform['clock']): Platform {
  let state = 1
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 4_294_967_296
  }
  const silent: Platform['logger'] = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
  return {
    clock,
    random: {
      fill(bytes) {
        for (let i = 0; i < bytes.length; i++) bytes[i] = next() * 256
        return bytes
      },
      uuid: () => '00000000-0000-4000-8000-000000000000',
      next,
    },
    checksum: portableCrc32c,
    compression: new Map(),
    logger: silent,
  }
}
