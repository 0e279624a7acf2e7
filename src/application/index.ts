/** The application ring as composition sees it. */
export { Broker } from './broker.ts'
export {
  type BrokerOptions,
  type BrokerSettings,
  defaultBrokerSettings,
  type PluginRunner,
} from './broker-options.ts'
export { type Operation, operationPermissions } from './permissions.ts'
export { defaultRestartPolicy, type RestartPolicy } from './supervision/supervisor.ts'
