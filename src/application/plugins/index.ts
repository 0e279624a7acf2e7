/** What the composition needs of the plugin host. */
export { PluginHost } from './plugin-host.ts'
