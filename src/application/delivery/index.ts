/** Delivery: from the log to subscribers, members of groups, and callers who fetch. */
export { createDelivery } from './service.ts'
