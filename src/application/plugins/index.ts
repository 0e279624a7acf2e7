/** What the composition needs of the plugin host. */
export { PluginHost, type PluginHostOptions } from './plugin-host.ts'
