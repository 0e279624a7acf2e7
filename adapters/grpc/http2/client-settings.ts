/** What a client asks for in its SETTINGS, as far as it matters to a server of gRPC. */
import { connectionError, http2Error, protocolError } from './errors.ts'
import { frameBytesDefault, frameBytesMost, setting, uint32, windowDefault, windowMost } from './frames.ts'

export class ClientSettings {
  initialSendWindow = windowDefault
  frameBytesMax = frameBytesDefault

  /** @param payload of whole settings @throws Http2Error of the connection */
  take(payload: Uint8Array): void {
    for (let at = 0; at < payload.length; at += 6) {
      this.#set((payload[at] << 8) | payload[at + 1], uint32(payload, at + 2))
    }
  }

  #set(id: number, value: number): void {
    if (id === setting.ENABLE_PUSH) {
      if (value > 1) throw protocolError('ENABLE_PUSH is 0 or 1')
    } else if (id === setting.MAX_FRAME_SIZE) {
      if (value < frameBytesDefault || value > frameBytesMost)
        throw protocolError('such frames there are not')
      this.frameBytesMax = value
    } else if (id === setting.INITIAL_WINDOW_SIZE) {
      if (value > windowMost)
        throw connectionError(http2Error.FLOW_CONTROL_ERROR, 'such a window there is not')
      this.initialSendWindow = value
    }
  }
}
