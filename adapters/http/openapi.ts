/** The frame of the OpenAPI document; the routes add themselves from their schemas. */
export const openApiDocument = {
  openapi: '3.1.0',
  info: {
    title: 'Ratatoskr',
    version: '1',
    description:
      'Publish, fetch and subscribe over HTTP. Errors are RFC 9457 problem documents whose `code` is stable: branch on it.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  tags: [
    { name: 'topics', description: 'Topics and their configuration' },
    { name: 'messages', description: 'Publishing and reading' },
    { name: 'groups', description: 'Consumer groups and their offsets' },
    { name: 'queues', description: 'Queue groups: messages are leased, and settled one by one' },
    { name: 'health', description: 'For load balancers and people' },
  ],
  components: {
    securitySchemes: {
      bearer: { type: 'http' as const, scheme: 'bearer' },
      basic: { type: 'http' as const, scheme: 'basic' },
    },
  },
  // Whether anybody is asked for credentials is the operator's choice.
  security: [{}, { bearer: [] }, { basic: [] }] as Record<string, string[]>[],
}
