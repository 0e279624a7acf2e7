/** What is kept of dead letter topics in the state store, by the topic's id. */

export const statePrefix = 'dead-letters/'

/** From where on letters may be buried a second time. */
export const positionKey = (topicId: string): string => `${statePrefix}${topicId}/position`
/** Everything below is redriven or purged. */
export const floorKey = (topicId: string): string => `${statePrefix}${topicId}/floor`
/** Which letters of a chunk above the floor are redriven or purged. */
export const chunkKey = (topicId: string, chunk: number): string => `${chunkPrefix(topicId)}${chunk}`
export const chunkPrefix = (topicId: string): string => `${statePrefix}${topicId}/chunks/`
/** What a redrive is about to publish. */
export const intentKey = (topicId: string): string => `${statePrefix}${topicId}/intent`

/** The id of the topic that an entry is about. */
export const topicIdOf = (key: string): string => key.slice(statePrefix.length).split('/')[0]
