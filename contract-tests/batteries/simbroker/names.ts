/** What topics and groups of a run are called. */
export const workTopic = 'work'
export const outTopic = 'out'
export const streamGroup = 'stream'
