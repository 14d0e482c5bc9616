/** What stands around a model's run: the types of `NAME/hooks.ts`, and hooks that are ready to use. See docs/hooks.md. */
export {
  type After,
  type Datatype,
  type ElementsOf,
  type GivenTensor,
  type GivenTensors,
  HOOK_EVENTS,
  type HookAnswer,
  type HookContext,
  type HookEvent,
  type HookLog,
  type HookModule,
  type HookOptions,
  type HookRecord,
  type HookRequest,
  type Postprocess,
  type Preprocess,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "./contract.ts";
export { elementsOf } from "./elements.ts";
export { feastFeatures, type FeastFeatures, type FeastFeaturesOptions } from "./feast-features.ts";
export {
  createFeatureLookup,
  type Fallback,
  type FeatureLookup,
  type Features,
  type FeatureStore,
  type LookupOptions,
} from "./feature-lookup.ts";
export { logPayloads, type PayloadLogOptions } from "./payload-log.ts";
export { redisFeatures, type RedisFeatures, type RedisFeaturesOptions } from "./redis-features.ts";
export { InvalidRequest, LookupFailed } from "./refusal.ts";
