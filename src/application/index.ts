/** The application ring as composition sees it. */
export { Broker } from './broker.ts'
