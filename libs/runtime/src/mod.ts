/** What every Millrace process shares: options, log, life and death, the admin port. Knows nothing of the protocol. */
export {
  AdminFault,
  type AdminHandler,
  type AdminServer,
  type AdminServerOptions,
  type Readiness,
  startAdminServer,
} from "./admin-server.ts";
export { ByModel, OTHER_MODELS } from "./by-model.ts";
export { brokersSchema } from "./broker-address.ts";
export { COMMON_OPTIONS, LOG_LEVELS, type LogLevel, processName } from "./common-options.ts";
export { DISCOVERY_OPTIONS } from "./discovery-options.ts";
export {
  type DrainCallback,
  Lifecycle,
  type LifecycleState,
  type ProcessHost,
  runMain,
  runUntilSignal,
  type RunUntilSignalOptions,
} from "./lifecycle.ts";
export { LINK_METRICS, LinkMetrics, type LinkSource } from "./link-metrics.ts";
export { createLogger, type Logger } from "./logger.ts";
export {
  defineMetrics,
  type MetricRow,
  type MetricTable,
  REQUEST_BUCKETS,
  ROWS_BUCKETS,
  STAGE_BUCKETS,
} from "./metric-table.ts";
export { byLabel, Counter, type Family, Gauge, Histogram, type Labels, Metrics, type Series } from "./metrics.ts";
export { MetricsPage, type MetricsSource } from "./metrics-page.ts";
export { readOptionFile } from "./option-file.ts";
export {
  defineOptions,
  describeOptions,
  environmentName,
  flagName,
  type GivenOption,
  helpOfOptions,
  isOwnVariable,
  loadOptions,
  type OptionDescription,
  OptionError,
  type OptionRow,
  type OptionSource,
  type OptionsOf,
  type OptionTable,
  parseGivenOption,
  readGivenOptions,
} from "./options.ts";
export { PROCESS_METRICS, recordProcess } from "./process-metrics.ts";
export { type Processors, usableProcessors, wholeProcessors } from "./processors.ts";
export { isStage, type Stage, STAGES } from "./stage.ts";
export { isSupervisorMessage, reportReady, type SupervisorMessage } from "./supervision.ts";
export { parseTestDelay } from "./test-delay.ts";
