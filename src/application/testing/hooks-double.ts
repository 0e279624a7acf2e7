/** Hooks that remember what they were told, and guards that tests set. */
import type { GuardEvents, ObserverEvents } from '../../ports/index.ts'
import type { PluginRunner } from '../broker-options.ts'

export class HooksDouble implements PluginRunner {
  readonly events: { readonly name: keyof ObserverEvents; readonly event: unknown }[] = []
  readonly refusals: { [Name in keyof GuardEvents]?: (event: GuardEvents[Name]) => void } = {}
  observing = true
  onStart: () => void = () => {}
  onStop: () => void = () => {}
  running = false

  async start(): Promise<void> {
    this.onStart()
    this.running = true
  }

  async stop(): Promise<void> {
    this.onStop()
    this.running = false
  }

  observes(): boolean {
    return this.observing
  }

  emit<Name extends keyof ObserverEvents>(name: Name, event: ObserverEvents[Name]): void {
    this.events.push({ name, event })
  }

  guards(name: keyof GuardEvents): boolean {
    return this.refusals[name] !== undefined
  }

  check<Name extends keyof GuardEvents>(name: Name, event: GuardEvents[Name]): void {
    this.refusals[name]?.(event)
  }

  of<Name extends keyof ObserverEvents>(name: Name): ObserverEvents[Name][] {
    return this.events.filter((one) => one.name === name).map((one) => one.event as ObserverEvents[Name])
  }
}
