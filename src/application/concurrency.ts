/** Doing many asynchronous things side by side, but not all at once. */

/**
 * Calls `run` for each item, at most `atOnce` at a time. Goes on after a failure, so that nothing is left running when
 * it settles; then rejects with the first.
 */
export async function forEachConcurrently<T>(
  items: readonly T[],
  atOnce: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      try {
        await run(items[next++])
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
}
