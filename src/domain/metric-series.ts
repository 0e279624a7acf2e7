/** What a series of measurements is called, and how series are told apart: shared by all back-ends of the Metrics port. */

const namePattern = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/
const labelPattern = /^[a-z][a-z0-9_]*$/
const nameCharactersMax = 200
const labelsMax = 10

/**
 * Checks a name, dotted lower case such as `ratatoskr.publish.duration_ms`, and labels.
 * @throws TypeError: names are written in the code, not given by users
 */
export function assertMetricSeries(name: string, labels: Readonly<Record<string, string>> = {}): void {
  if (typeof name !== 'string' || name.length > nameCharactersMax || !namePattern.test(name)) {
    throw new TypeError(`a metric's name is dotted lower case such as a.b_ms, got ${JSON.stringify(name)}`)
  }
  const entries = Object.entries(labels)
  if (entries.length > labelsMax) {
    throw new TypeError(`metric ${name} has ${entries.length} labels; at most ${labelsMax} are allowed`)
  }
  for (const [label, value] of entries) {
    if (labelPattern.test(label) && typeof value === 'string') continue
    throw new TypeError(
      `metric ${name}: label ${JSON.stringify(label)} must be lower case with a string value`,
    )
  }
}

/** Equal for the same labels in whatever order, different for any others. */
export function metricLabelsKey(labels: Readonly<Record<string, string>> = {}): string {
  const names = Object.keys(labels).sort()
  return JSON.stringify(names.map((name) => [name, labels[name]]))
}
