import { authenticatorContract, authorizerContract } from 'ratatoskr/contract-tests'
import { allowAllAuthorizer, anonymous, anonymousAuthenticator } from './index.ts'

const teardown = async () => {}

authenticatorContract('nobody is asked for anything', async () => ({
  subject: anonymousAuthenticator,
  accepted: [{ credentials: { kind: 'none' }, principal: anonymous }],
  teardown,
}))

authorizerContract('everything is allowed', async () => ({
  subject: allowAllAuthorizer,
  principal: anonymous,
  stranger: undefined,
  allowed: [
    ['topic:delete', { kind: 'topic', namespace: 'other', name: 'orders' }],
    ['group:seek', { kind: 'group', namespace: 'default', topic: 'orders', name: 'billing' }],
    ['broker:describe', { kind: 'broker' }],
  ],
  denied: [],
  teardown,
}))
