/** What a dead letter must say, and when it may come. */
import { broken } from './broken.ts'
import type { MessageModel } from './message.ts'
import type { StoredRecord } from './stored-log.ts'

/** What a dead letter says of its message. */
export const saidBy = (letter: StoredRecord, name: string): string =>
  letter.headers.get(`rtk-dead-letter-${name}`) ?? ''

/** @param expires the message has expired, and goes to the dead letters then @throws Error when it may not be there */
export function assertMayBeBuried(
  letter: StoredRecord,
  message: MessageModel | undefined,
  at: string,
  expires: boolean,
): asserts message is MessageModel {
  if (message?.name !== letter.name || message.key !== letter.key) throw broken(`${at} is not that message`)
  if (!message.mayBe('failing') && message.buriedAgainMax === 0 && !expires) {
    throw broken(`${at} came while it was ${message.status} after ${message.attempts} attempts`)
  }
}

/** @throws Error when it does not say what is true of a message that is failing */
export function assertSaysWhy(letter: StoredRecord, message: MessageModel, at: string): void {
  const [reason, attempts] = [saidBy(letter, 'reason'), saidBy(letter, 'attempts')]
  if (message.failure !== '' && reason !== message.failure) {
    throw broken(`${at} gives the reason ${reason}, and it was ${message.failure}`)
  }
  if (Number(attempts) !== message.attempts) {
    throw broken(`${at} speaks of ${attempts} attempts, and there were ${message.attempts}`)
  }
}
