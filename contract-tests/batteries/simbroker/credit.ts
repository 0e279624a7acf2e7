/** What a member of a queue group may be sent, by what it has granted: judged from outside, by the numbers that travel. */

export class Credit {
  #messages: number | undefined
  #bytes: number | undefined
  #largestBytes = 0

  /** @param text such as `3 messages, undefined bytes` */
  grant(text: string): void {
    const { messages, bytes } = numbersOf(text)
    if (messages !== undefined) this.#messages = (this.#messages ?? 0) + messages
    if (bytes === undefined) return
    this.#bytes = (this.#bytes ?? 0) + bytes
    this.#largestBytes = Math.max(this.#largestBytes, Math.min(bytes, this.#bytes))
  }

  /** @returns what is wrong with sending so much; undefined when nothing is */
  spend(text: string): string | undefined {
    const { messages = 0, bytes = 0 } = numbersOf(text)
    const [messagesBefore, bytesBefore] = [this.#messages, this.#bytes]
    if (messagesBefore === undefined && bytesBefore === undefined) return 'nothing was granted'
    if (messagesBefore !== undefined) this.#messages = messagesBefore - messages
    if (bytesBefore !== undefined) this.#bytes = bytesBefore - bytes
    if (messagesBefore !== undefined && messages > messagesBefore)
      return `credit is ${messagesBefore} messages`
    if (bytesBefore === undefined || bytes <= bytesBefore) return undefined
    // A message that is larger than all credit comes alone, when all is back.
    if (messages === 1 && bytesBefore > 0 && bytesBefore >= this.#largestBytes) return undefined
    return `credit is ${bytesBefore} bytes`
  }
}

function numbersOf(text: string): {
  readonly messages: number | undefined
  readonly bytes: number | undefined
} {
  const number = (unit: string): number | undefined => {
    const found = new RegExp(`(\\d+) ${unit}`).exec(text)
    return found === null ? undefined : Number(found[1])
  }
  return { messages: number('messages'), bytes: number('bytes') }
}
