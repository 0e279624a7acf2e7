/** Whether an application has an OpenTelemetry SDK here, without loading OpenTelemetry to find out. */

/**
 * True when somebody has registered a provider with the API of OpenTelemetry. Its copies share their providers under a
 * symbol of this name, whose end is the version; nobody who has none of them needs the 50 modules of the API.
 */
export const telemetryIsRegistered = (): boolean =>
  Object.getOwnPropertySymbols(globalThis).some(
    ({ description }) => description?.startsWith('opentelemetry.js.api.') === true,
  )
