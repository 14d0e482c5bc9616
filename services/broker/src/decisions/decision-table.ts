/** What the broker decides about the requests of a model version. */
const DECISIONS = ["sent", "held", "shed", "refused", "expired"] as const;
export type Decision = (typeof DECISIONS)[number];

/** A value of a decision, as `/decisions` shows it. */
export type DecisionField = {
  readonly unit: string;
  /** The decisions that have it. */
  readonly of: readonly Decision[];
  readonly doc: string;
};

const defineFields = <T extends Readonly<Record<string, DecisionField>>>(
  fields: T,
): Readonly<Record<keyof T, DecisionField>> => fields;

/** The words of a decision, in the order in which they are shown. docs/operations.md is bound to these tables by a test. */
export const DECISION_WORDS = defineFields({
  decision: { unit: "", of: DECISIONS, doc: "`sent`, `held`, `shed`, `refused` or `expired`" },
  why: { unit: "", of: DECISIONS, doc: "the reason, in a word: see the table of them" },
  bucket: { unit: "", of: ["sent", "held"], doc: "the shape of the rows; left out where the model has but one" },
  bound: {
    unit: "",
    of: ["sent"],
    doc: "what kept the batch from being larger: `waiting` (nothing more waited), `model` (its largest batch), `deadline`, `limits` (bytes, items, or the next request has too many rows)",
  },
  worker: { unit: "", of: ["sent"], doc: "who was sent the batch" },
  ended: {
    unit: "",
    of: ["sent"],
    doc: "`answered`, `handed_back`, `lost` with the worker, or `taken_back`: what nobody had begun of it was sent elsewhere, as the batch before it was late; left out while the batch is out",
  },
});

/** The numbers of a decision, in the order in which they are shown. */
export const DECISION_NUMBERS = defineFields({
  ago_ms: { unit: "ms", of: DECISIONS, doc: "how long ago; of several taken together, the latest" },
  count: { unit: "decisions", of: DECISIONS, doc: "equal decisions since the last batch left, taken together" },
  first_ago_ms: { unit: "ms", of: ["held", "shed", "refused", "expired"], doc: "of those, how long ago the first was" },
  slot: { unit: "", of: ["sent"], doc: "the slot of that worker" },
  batch: { unit: "", of: ["sent"], doc: "its number" },
  requests: { unit: "requests", of: ["sent"], doc: "requests in it" },
  rows: { unit: "rows", of: ["sent"], doc: "rows in it" },
  waiting_rows: {
    unit: "rows",
    of: ["sent", "held"],
    doc: "rows that waited and could share the batch, before it left",
  },
  sustainable_rows: {
    unit: "rows",
    of: ["sent", "held"],
    doc: "n*: the batch with which the slots keep pace with the arrivals; 1: nothing is gained by waiting",
  },
  slack_ms: {
    unit: "ms",
    of: ["sent", "held", "shed", "refused", "expired"],
    doc: "how much time the most urgent request would have left at its answer, by the 95th percentile of the prediction and less the margin for the way back; negative: it would be late",
  },
  hold_ms: { unit: "ms", of: ["held"], doc: "for how much longer it was held at most" },
  start_ms: { unit: "ms", of: ["sent"], doc: "predicted time from the decision to the start of the run" },
  predicted_ms: { unit: "ms", of: ["sent"], doc: "predicted time of the run, the median" },
  compute_ms: { unit: "ms", of: ["sent"], doc: "its true time, as the worker measured it" },
  late_ms: {
    unit: "ms",
    of: ["sent"],
    doc: "how much later than predicted the batch was back; the way back counts; negative: earlier",
  },
});

export type DecisionWord = keyof typeof DECISION_WORDS;
export type DecisionNumber = keyof typeof DECISION_NUMBERS;

/** A decision as it is shown: words that are empty and numbers that are not known are left out. */
export type ShownDecision = Readonly<Partial<Record<DecisionWord, string> & Record<DecisionNumber, number>>>;
