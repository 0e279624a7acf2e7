/** What principals may do, compiled once from rules and looked up per call. */
import { type Action, type Grants, RatatoskrError, type Resource } from 'ratatoskr/ports'
import { compilePattern, type Matcher } from './patterns.ts'

/** Allows some actions on some topics. What no rule allows is denied. */
export interface AllowRule {
  /** Actions such as `topic:publish`, all of a kind as `topic:*`, or all as `*`. */
  readonly actions: readonly string[]
  /**
   * The topics, such as `orders.*` or `**` (all, by default), in the principal's namespace; `namespace/pattern` for
   * another one, an asterisk before the slash for every one.
   */
  readonly topics?: string | readonly string[] | undefined
  /** The groups, for actions on groups; all by default. */
  readonly groups?: string | readonly string[] | undefined
}

const allActions = Object.keys({
  'topic:create': true,
  'topic:delete': true,
  'topic:alter': true,
  'topic:list': true,
  'topic:describe': true,
  'topic:publish': true,
  'topic:consume': true,
  'group:describe': true,
  'group:consume': true,
  'group:seek': true,
  'group:configure': true,
  'broker:describe': true,
  'broker:profile': true,
} satisfies Record<Action, true>) as readonly Action[]

/** Answers that are remembered for one principal; above it they are forgotten and looked up again. */
const rememberedMax = 10_000

interface CompiledRule {
  readonly actions: ReadonlySet<Action>
  readonly topic: (namespace: string, name: string) => boolean
  readonly group: Matcher
}

/** Rights that follow from rules. Answers are remembered, so that asking again is two lookups. */
export class RuleGrants implements Grants {
  readonly #rules: readonly CompiledRule[]
  readonly #namespace: string
  readonly #answers = new Map<Action, Map<string, boolean>>()
  #remembered = 0

  /** @throws RTK_CONFIG_INVALID when a rule names an unknown action or a wrong pattern */
  constructor(rules: readonly AllowRule[], namespace: string) {
    this.#rules = rules.map((rule) => compileRule(rule, namespace))
    this.#namespace = namespace
  }

  allows(action: Action, resource: Resource): boolean {
    const key = this.#keyOf(resource)
    const known = this.#answers.get(action)?.get(key)
    return known ?? this.#decide(action, resource, key)
  }

  /** Topics of the own namespace, the usual case, are known by their name alone. A slash is in no name. */
  #keyOf(resource: Resource): string {
    if (resource.kind === 'broker') return '/'
    if (resource.kind === 'group') return `${resource.namespace}/${resource.topic}/${resource.name}`
    return resource.namespace === this.#namespace ? resource.name : `${resource.namespace}/${resource.name}`
  }

  #decide(action: Action, resource: Resource, key: string): boolean {
    const allowed = this.#rules.some((rule) => rule.actions.has(action) && covers(rule, resource))
    if (this.#remembered >= rememberedMax) {
      this.#answers.clear()
      this.#remembered = 0
    }
    let answers = this.#answers.get(action)
    if (answers === undefined) this.#answers.set(action, (answers = new Map()))
    answers.set(key, allowed)
    this.#remembered++
    return allowed
  }
}

function covers(rule: CompiledRule, resource: Resource): boolean {
  switch (resource.kind) {
    case 'broker':
      return true
    case 'topic':
      return rule.topic(resource.namespace, resource.name)
    case 'group':
      return rule.topic(resource.namespace, resource.topic) && rule.group(resource.name)
  }
}

function compileRule(rule: AllowRule, namespace: string): CompiledRule {
  const topics = listOf(rule.topics).map((pattern) => compileTopic(pattern, namespace))
  const groups = listOf(rule.groups).map(compilePattern)
  return {
    actions: new Set(rule.actions.flatMap(expandAction)),
    topic: (inNamespace, name) => topics.some((matches) => matches(inNamespace, name)),
    group: (name) => groups.some((matches) => matches(name)),
  }
}

const listOf = (patterns: string | readonly string[] = '**'): readonly string[] =>
  typeof patterns === 'string' ? [patterns] : patterns

function compileTopic(pattern: string, own: string): (namespace: string, name: string) => boolean {
  const slash = pattern.indexOf('/')
  const matches = compilePattern(pattern.slice(slash + 1))
  const namespace = slash === -1 ? own : pattern.slice(0, slash)
  if (namespace === '*') return (_, name) => matches(name)
  return (inNamespace, name) => inNamespace === namespace && matches(name)
}

function expandAction(action: string): readonly Action[] {
  const prefix = action === '*' ? '' : action.endsWith(':*') ? action.slice(0, -1) : undefined
  const found = allActions.filter((known) =>
    prefix === undefined ? known === action : known.startsWith(prefix),
  )
  if (found.length > 0) return found
  throw new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `${JSON.stringify(action)} is no action; there are ${allActions.join(', ')}, and topic:*, group:*, broker:*, *`,
  )
}
