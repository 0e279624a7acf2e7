/** What a member can do with messages that it holds leases on: see `SettlementAction`. */
export const settlementActions = [
  'ack',
  'nack',
  'extend',
  'terminate',
  'release',
  'ackUpTo',
  'begin',
] as const
