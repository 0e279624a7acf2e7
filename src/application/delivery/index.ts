/** Delivery: from the log to subscribers, members of groups, and callers who fetch. */
export { createDelivery, type DeliveryDependencies } from './service.ts'
