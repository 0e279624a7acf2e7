/** The tree of subcommands: names, arguments and options. What they do is in `commands/`, loaded when they run. */
import { Command } from 'commander'
import { defaultUrl } from './connection.ts'
import { version } from './version.ts'

const collect = (value: string, all: string[] = []): string[] => [...all, value]

export function buildProgram(): Command {
  const program = new Command('ratatoskr')
    .description('A message broker: run one, talk to one, look into its data.')
    .exitOverride()
    .showHelpAfterError('(ratatoskr --help shows the commands)')
    .enablePositionalOptions()
  program.version(version, '-V, --version', 'print the version')
  addServe(program)
  addTopic(program)
  addMessages(program)
  addScheduled(program)
  addGroup(program)
  addDeadLetters(program)
  addTuning(program)
  addFiles(program)
  return program
}

/** A subcommand that talks to a broker. */
const remote = (command: Command): Command =>
  command
    .option(
      '--url <url>',
      'broker: tcp://, unix:, grpc://, ws:// or http://',
      process.env.RATATOSKR_URL ?? defaultUrl,
    )
    .option('--token <token>', 'bearer token (or RATATOSKR_TOKEN)', process.env.RATATOSKR_TOKEN)
    .option('--timeout <ms>', 'deadline of each call', '5000')
    .option('-o, --output <format>', 'table, json or ndjson', 'table')

const configFlags = (command: Command): Command =>
  command
    .option('-c, --config <file>', 'configuration file (default: ratatoskr.config.{ts,js,json,yaml})')
    .option('--storage <kind>', 'disk or memory')
    .option('--directory <path>', 'data directory')
    .option('--grpc-port <port>', 'port of the gRPC transport')
    .option('--http-port <port>', 'port of the HTTP transport')
    .option('--websocket-port <port>', 'port of the WebSocket transport')
    .option('--tcp-port <port>', 'port of the TCP transport')
    .option('--unix-path <path>', 'a Unix socket to listen on as well')
    .option('--host <address>', 'address that every transport listens on')
    .option('--insecure', 'listen beyond loopback without authentication')
    .option('--workers <n>', 'event loops that share the work, for more than one core')
    .option('--log-level <level>', 'debug, info, warn or error')
    .option('--set <key=value>', 'any configuration key, such as limits.topicsMax=50', collect)

function addServe(program: Command): void {
  configFlags(program.command('serve').description('run a broker')).action(async (options) =>
    (await import('./commands/serve.ts')).serve(options),
  )
  const config = program.command('config').description('the configuration that serve would use')
  configFlags(config.command('print').description('print it, each value with where it came from'))
    .option('-o, --output <format>', 'table, json or ndjson', 'table')
    .action(async (options) => (await import('./commands/config.ts')).printConfig(options))
  configFlags(config.command('validate').description('check it; exit code 78 when it is wrong')).action(
    async (options) => (await import('./commands/config.ts')).validateConfig(options),
  )
  configFlags(
    remote(
      program
        .command('doctor')
        .description('check this machine, the configuration, and the broker if it runs'),
    ),
  ).action(async (options) => (await import('./commands/doctor.ts')).doctor(options))
}

function addTopic(program: Command): void {
  const topic = program.command('topic').description('create, list, describe, alter and delete topics')
  const settings = (command: Command): Command =>
    command
      .option('--partitions <n>', 'number of partitions')
      .option('--retention-messages <n>', 'messages that a partition keeps; -1 for no bound')
      .option('--retention <policy>', 'limits, or workqueue: what every group has finished is deleted')
      .option('--set <key=value>', 'a setting of the topic, such as retentionMs=3600000', collect)
  settings(remote(topic.command('create <topic>'))).action(async (name, options) =>
    (await import('./commands/topic.ts')).createTopic(name, options),
  )
  remote(topic.command('list')).action(async (options) =>
    (await import('./commands/topic.ts')).listTopics(options),
  )
  remote(topic.command('describe <topic>')).action(async (name, options) =>
    (await import('./commands/topic.ts')).describeTopic(name, options),
  )
  settings(remote(topic.command('alter <topic>'))).action(async (name, options) =>
    (await import('./commands/topic.ts')).alterTopic(name, options),
  )
  remote(topic.command('delete <topic>'))
    .option('--yes', 'do not ask')
    .action(async (name, options) => (await import('./commands/topic.ts')).deleteTopic(name, options))
}

function addMessages(program: Command): void {
  remote(
    program
      .command('pub <topic> [payload]')
      .description('publish the payload, or else each line of stdin as a message'),
  )
    .option('-k, --key <key>', 'key of the message')
    .option('-H, --header <name=value>', 'a header of the message', collect)
    .option('-p, --partition <n>', 'partition to publish to')
    .option('--durability <level>', 'memory, os, interval, fsync or quorum')
    .option('--ttl <duration>', 'deliver it only for so long: 1500ms, 5s, 10m, 2h or 7d')
    .option('--delay <duration>', 'deliver it only after so long: 1500ms, 5s, 10m, 2h or 7d')
    .option('--at <time>', 'deliver it then: Unix ms or ISO 8601')
    .action(async (topic, payload, options) =>
      (await import('./commands/pub.ts')).pub(topic, payload, options),
    )
  remote(
    program
      .command('sub <topic>')
      .description('print messages as they come: payload lines, or JSON with -o json'),
  )
    .option('-g, --group <group>', 'consume as a member of this queue group and acknowledge what was printed')
    .option('--sharing <how>', 'of a group that is new: partitioned, shared or keyShared')
    .option('--from <position>', 'earliest, latest, an offset, or @TIME (Unix ms or ISO 8601)')
    .option('-n, --count <n>', 'stop after so many messages')
    .option('-p, --partition <n>', 'only this partition')
    .option(
      '--overflow <policy[:messages]>',
      'when further behind than so many: dropOldest:1000, dropNewest:1000, disconnect:1000, or pause; not with a group',
    )
    .action(async (topic, options) => (await import('./commands/sub.ts')).sub(topic, options))
}

function addScheduled(program: Command): void {
  const scheduled = program.command('scheduled').description('messages that wait for their time')
  remote(scheduled.command('list <topic>').description('those that are due first at first'))
    .option('-n, --count <n>', 'stop after so many messages')
    .action(async (topic, options) => (await import('./commands/scheduled.ts')).listScheduled(topic, options))
  remote(
    scheduled.command('cancel <topic> <id>').description('take one back; exit code 1 when it does not wait'),
  ).action(async (topic, id, options) =>
    (await import('./commands/scheduled.ts')).cancelScheduled(topic, id, options),
  )
}

function addGroup(program: Command): void {
  const group = program.command('group').description('groups of a topic: queues (sub --group) and streams')
  const add = (command: string, about: string): Command => remote(group.command(command).description(about))
  const commands = () => import('./commands/group.ts')
  add('list <topic>', 'names and kinds of its groups').action(async (topic, options) =>
    (await commands()).listGroups(topic, options),
  )
  queueSettings(add('create <topic> <group>', 'create a queue group'))
    .option('--from <position>', 'where it begins: earliest, latest, an offset, or @TIME')
    .action(async (topic, name, options) => (await commands()).createGroup(topic, name, options))
  add('describe <topic> <group>', 'how far a group is, and who is in it').action(
    async (topic, name, options) => (await commands()).describeGroup(topic, name, options),
  )
  queueSettings(add('alter <topic> <group>', 'change settings of a queue group')).action(
    async (topic, name, options) => (await commands()).alterGroup(topic, name, options),
  )
  add('pause <topic> <group>', 'stop the delivery of a queue group')
    .option('-p, --partition <n>', 'only this partition')
    .action(async (topic, name, options) => (await commands()).pauseGroup(topic, name, options))
  add('resume <topic> <group>', 'go on with the delivery of a queue group')
    .option('-p, --partition <n>', 'only this partition')
    .action(async (topic, name, options) => (await commands()).resumeGroup(topic, name, options))
  add('seek <topic> <group>', 'set where a group goes on')
    .requiredOption('--to <position>', 'earliest, latest, an offset, or @TIME')
    .option('-p, --partition <n>', 'only this partition')
    .action(async (topic, name, options) => (await commands()).seekGroup(topic, name, options))
  add('delete <topic> <group>', 'forget a group without members').action(async (topic, name, options) =>
    (await commands()).deleteGroup(topic, name, options),
  )
}

function addDeadLetters(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('dead letters: messages of a topic that its queue groups gave up')
  const add = (command: string, about: string): Command =>
    letterFilter(remote(dlq.command(command).description(about)))
  const commands = () => import('./commands/dlq.ts')
  add('list <topic>', 'those that were neither redriven nor purged, in the order of their burial').action(
    async (topic, options) => (await commands()).listLetters(topic, options),
  )
  add('show <topic> <partition:offset>', 'one of them, with the message and all that is known of it').action(
    async (topic, place, options) => (await commands()).showLetter(topic, place, options),
  )
  add('redrive <topic>', 'publish them again, each once; interrupted, it goes on when it is called again')
    .option('--to <topic>', 'publish to this topic; their own by default')
    .option('--rate <n>', 'at most so many messages a second')
    .option('--dry-run', 'publish nothing, only count')
    .option('--force', 'also those that were redriven three times already')
    .option('--every-group', 'to all groups of the topic, not only to the one that gave the message up')
    .action(async (topic, options) => (await commands()).redriveLetters(topic, options))
  add('purge <topic>', 'let go of them: they are neither listed nor redriven any more')
    .option('--yes', 'needed')
    .action(async (topic, options) => (await commands()).purgeLetters(topic, options))
}

function addTuning(program: Command): void {
  remote(
    program
      .command('top')
      .description('what a broker that runs has to do: its topics, groups, connections, memory; q ends it'),
  )
    .option('--interval <duration>', 'time from one look to the next: 500ms, 2s', '2s')
    .option('--once', 'look for one interval, print and end')
    .option('--topics <n>', 'topics that are shown at most, the busiest first', '20')
    .action(async (options) => (await import('./commands/top.ts')).top(options))
  remote(
    program
      .command('profile')
      .description('take a profile of a broker that runs, over http://, for the developer tools of Chrome'),
  )
    .option('--kind <kind>', 'cpu: where its time goes; heap: what makes the objects that stay', 'cpu')
    .option('--duration <duration>', 'how long: 500ms, 10s, at most 1m', '10s')
    .option('--file <path>', 'file to write (default: broker.cpuprofile, broker.heapprofile)')
    .action(async (options) => (await import('./commands/profile.ts')).profile(options))
  addBench(program)
}

function addBench(program: Command): void {
  remote(
    program
      .command('bench')
      .description(
        'measure a broker that runs: publish, consume and check messages, over a topic of its own that is deleted afterwards',
      ),
  )
    .option(
      '--topic <topic>',
      'use this topic, which stays with what was published, instead of one of its own',
    )
    .option('--partitions <n>', 'partitions of its own topic (default: 1)')
    .option('--producers <n>', 'producers, each with a connection', '1')
    .option(
      '--consumers <n>',
      'consumers, each with a connection, each gets everything; 0 only publishes',
      '1',
    )
    .option('--payload <bytes>', 'size of a message', '100')
    .option('--batch <bytes>', "size at which a producer's batch is full", '262144')
    .option('--single', 'publish and handle messages one by one instead of in batches')
    .option('--in-flight <n>', 'with --single: publishes of each producer under way (default: 10000)')
    .option('--rate <n>', 'messages a second of all producers together; as many as go otherwise')
    .option('--durability <level>', 'memory, os, interval, fsync or quorum')
    .option('--warm-up <duration>', 'what goes before, and is not measured', '1s')
    .option('--duration <duration>', 'how long it measures: 1500ms, 5s, 10m', '10s')
    .option('--max-bytes <n>', 'payload that it publishes at most, warm-up included', '536870912')
    .action(async (options) => (await import('./commands/bench.ts')).bench(options))
}

const letterFilter = (command: Command): Command =>
  command
    .option('-g, --group <group>', 'given up by this group')
    .option('--reason <reason>', 'retries, terminated or expired')
    .option('--match <text>', 'text that the error contains')
    .option('--since <time>', 'buried then or later: Unix ms, ISO 8601, or a duration back from now')
    .option('--until <time>', 'buried before')
    .option('-k, --key <key>', 'of this message key')
    .option('--id <id>', 'of this message id; may be repeated', collect)
    .option(
      '--dead-letter-topic <topic>',
      'where they are, when that is neither <topic>.dlq nor what the group says',
    )
    .option('--max <n>', 'at most so many')

const queueSettings = (command: Command): Command =>
  command
    .option('--sharing <how>', 'partitioned, shared or keyShared')
    .option('--ack-timeout <duration>', 'how long a message is leased: 1500ms, 5s, 10m, 2h or 7d')
    .option('--retries <n>', 'how often a message that failed comes again; -1 for no end')
    .option(
      '--retry <policy>',
      'pauses between: fixed:1s, linear:1s..30s, exponential:200ms..30s, list:1s,5s',
    )
    .option('--dead-letter-topic <topic>', "where failed messages go; none: nowhere, '': <topic>.dlq")
    .option('--set <key=value>', 'another setting, such as inFlightMax=1000', collect)

function addFiles(program: Command): void {
  const log = program.command('log').description('look into a data directory; the broker need not run')
  log
    .command('dump <file>')
    .description(
      'print the records of a segment or state file as JSON lines, going on after damage; exit code 1 when there is some',
    )
    .option('--headers', 'only the batch headers')
    .option('--from <offset>', 'leave out records before it')
    .option('--to <offset>', 'leave out records from it on')
    .option('--text', 'payloads and values as text instead of base64')
    .action(async (file, options) => (await import('./commands/log.ts')).dumpLog(file, options))
  log
    .command('verify [directory]')
    .description(
      'check every byte of a data directory and say what to do; exit code 1 when something is lost, or the broker would refuse it',
    )
    .option('-o, --output <format>', 'table, json or ndjson', 'table')
    .action(async (directory, options) => (await import('./commands/log.ts')).verifyLogs(directory, options))
  log
    .command('repair [directory]')
    .description(
      'mend a data directory that no broker uses; nothing is deleted, what is taken away goes to quarantine/; exit code 1 when something is left to decide',
    )
    .option('--dry-run', 'say what it would do, and touch nothing')
    .option(
      '--accept-loss',
      'take what is lost for lost: it is no error of a check any more, and keeps no log from opening; a broker still names it at its start',
    )
    .option(
      '--set-aside <file>',
      'take this segment away, where two hold different records or it cannot be read',
      collect,
    )
    .option('-o, --output <format>', 'table, json or ndjson', 'table')
    .action(async (directory, options) => (await import('./commands/log.ts')).repairLogs(directory, options))
  program
    .command('audit')
    .description('the audit log')
    .command('verify <file>')
    .description('check the hash chain; exit code 1 when it is broken')
    .action(async (file) => (await import('./commands/audit.ts')).verifyAudit(file))
}
