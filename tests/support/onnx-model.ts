import type { Datatype } from "@millrace/protocol";
import { elementCount } from "@millrace/protocol";
import protobuf from "protobufjs";

/**
 * Writes real ONNX files, so that tests and benchmarks need no Python and no model in git.
 *
 * The messages are the subset of `onnx/onnx.proto` that graphs of plain operators need, copied with their field
 * numbers from the release 1.23.2 of https://github.com/onnx/onnx (Apache-2.0); ONNX never renumbers a field.
 * Files say IR version 8 and operator set 17 (ONNX 1.12), which every onnxruntime since 1.12 reads.
 */
const ONNX_PROTO = `
  syntax = "proto2";
  package onnx;
  message AttributeProto {
    optional string name = 1;
    optional int32 type = 20; // enum AttributeType
    optional float f = 2;
    optional int64 i = 3;
    optional bytes s = 4;
    optional TensorProto t = 5;
    optional GraphProto g = 6;
    repeated float floats = 7;
    repeated int64 ints = 8;
    repeated bytes strings = 9;
  }
  message NodeProto {
    repeated string input = 1;
    repeated string output = 2;
    optional string name = 3;
    optional string op_type = 4;
    optional string domain = 7;
    repeated AttributeProto attribute = 5;
  }
  message GraphProto {
    repeated NodeProto node = 1;
    optional string name = 2;
    repeated TensorProto initializer = 5;
    repeated ValueInfoProto input = 11;
    repeated ValueInfoProto output = 12;
  }
  message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
  message TypeProto {
    message Tensor { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; }
    message Sequence { optional TypeProto elem_type = 1; }
    oneof value { Tensor tensor_type = 1; Sequence sequence_type = 4; }
  }
  message TensorShapeProto {
    message Dimension { oneof value { int64 dim_value = 1; string dim_param = 2; } }
    repeated Dimension dim = 1;
  }
  message TensorProto {
    repeated int64 dims = 1;
    optional int32 data_type = 2; // enum DataType
    repeated bytes string_data = 6;
    optional string name = 8;
    optional bytes raw_data = 9;
  }
  message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
  message StringStringEntryProto { optional string key = 1; optional string value = 2; }
  message ModelProto {
    optional int64 ir_version = 1;
    optional string producer_name = 2;
    optional GraphProto graph = 7;
    repeated OperatorSetIdProto opset_import = 8;
    repeated StringStringEntryProto metadata_props = 14;
  }
`;

const IR_VERSION = 8;
const OPSET = 17;

/** `TensorProto.DataType` of each datatype. */
const ELEMENT_TYPES = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BYTES: 8,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
  BF16: 16,
} as const satisfies Record<Datatype, number>;

/** A size, the name of an open dimension (equal names promise equal sizes), or null: open and nameless. */
export type OnnxDimension = number | string | null;

/**
 * An input or output of the graph. A shape of "unranked" leaves even the number of dimensions open.
 * `sequence` makes it a sequence of such tensors, which Millrace does not serve: for tests of refusals.
 */
export type OnnxValue = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly OnnxDimension[] | "unranked";
  readonly sequence?: boolean;
};

/**
 * A constant. `data` holds the elements in row-major order, as many as the shape has: numbers, bigints (the 64-bit
 * integers may be either), booleans or 0 and 1 (BOOL), strings (BYTES). A typed array of the datatype's own kind is
 * borrowed while the model is encoded. Numbers are rounded or wrapped to the datatype as typed arrays do it.
 */
export type OnnxTensor = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: ArrayLike<number | bigint | boolean | string>;
};

/**
 * One attribute of a node, tagged with its type, as ONNX tells 1 from 1.0. `elementType` is the integer that stands
 * for a datatype (the `to` of Cast); `graph` is the body of Loop and If.
 */
export type OnnxAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly string: string }
  | { readonly tensor: OnnxTensor }
  | { readonly graph: OnnxGraph }
  | { readonly floats: readonly number[] }
  | { readonly ints: readonly number[] }
  | { readonly strings: readonly string[] }
  | { readonly elementType: Datatype };

/** One operator call. An empty string among `inputs` leaves an optional input out. `domain` defaults to ONNX's own. */
export type OnnxNode = {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  readonly domain?: string;
};

/** A graph: nodes in an order in which they can run. */
export type OnnxGraph = {
  readonly name: string;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  readonly initializers?: readonly OnnxTensor[];
};

/**
 * A model file. `opsets` adds to, or overrides, the operator sets by domain (default `{ "": 17 }`), for example
 * `{ "ai.onnx.ml": 3 }`. `metadata` becomes the file's metadata properties.
 */
export type OnnxModel = OnnxGraph & {
  readonly opsets?: Readonly<Record<string, number>>;
  readonly metadata?: Readonly<Record<string, string>>;
};

const messages = protobuf.parse(ONNX_PROTO, { keepCase: true }).root;
const modelProto = messages.lookupType("onnx.ModelProto");

/**
 * Encodes a model as the bytes of an `.onnx` file; equal models give equal bytes.
 *
 * It checks that constants have as many elements as their shapes, and throws a RangeError otherwise. It does not
 * check the graph: a graph that makes no sense is encoded as it is, for tests of files that cannot be loaded.
 * Protocol buffers end at 2 GiB; everything is held in memory.
 *
 * @example
 * ```ts
 * const value = { datatype: "FP32", shape: ["batch", 4] } as const;
 * const bytes = encodeOnnxModel({
 *   name: "relu",
 *   inputs: [{ name: "x", ...value }],
 *   outputs: [{ name: "y", ...value }],
 *   nodes: [{ op: "Relu", inputs: ["x"], outputs: ["y"] }],
 * });
 * ```
 */
export function encodeOnnxModel(model: OnnxModel): Uint8Array {
  const opsets = Object.entries({ "": OPSET, ...model.opsets });
  const message = {
    ir_version: IR_VERSION,
    producer_name: "millrace",
    opset_import: opsets.map(([domain, version]) => ({ domain, version })),
    graph: toGraph(model),
    metadata_props: Object.entries(model.metadata ?? {}).map(([key, value]) => ({ key, value })),
  };
  return modelProto.encode(message).finish();
}

function toGraph(graph: OnnxGraph): object {
  return {
    name: graph.name,
    input: graph.inputs.map(toValueInfo),
    output: graph.outputs.map(toValueInfo),
    node: graph.nodes.map(toNode),
    initializer: (graph.initializers ?? []).map(toTensor),
  };
}

function toValueInfo(value: OnnxValue): object {
  const shape = value.shape === "unranked" ? {} : { shape: { dim: value.shape.map(toDimension) } };
  const tensor = { tensor_type: { elem_type: ELEMENT_TYPES[value.datatype], ...shape } };
  return { name: value.name, type: value.sequence ? { sequence_type: { elem_type: tensor } } : tensor };
}

function toDimension(size: OnnxDimension): object {
  if (size === null) return {};
  return typeof size === "string" ? { dim_param: size } : { dim_value: size };
}

function toNode(node: OnnxNode, index: number): object {
  const attributes = Object.entries(node.attributes ?? {});
  return {
    name: `${node.op}_${index}`,
    op_type: node.op,
    domain: node.domain ?? "",
    input: node.inputs,
    output: node.outputs,
    attribute: attributes.map(([name, attribute]) => ({ name, ...toAttribute(attribute) })),
  };
}

/** The numbers are `AttributeProto.AttributeType`. */
function toAttribute(attribute: OnnxAttribute): object {
  if ("float" in attribute) return { type: 1, f: attribute.float };
  if ("int" in attribute) return { type: 2, i: attribute.int };
  if ("elementType" in attribute) return { type: 2, i: ELEMENT_TYPES[attribute.elementType] };
  if ("string" in attribute) return { type: 3, s: Buffer.from(attribute.string) };
  if ("tensor" in attribute) return { type: 4, t: toTensor(attribute.tensor) };
  if ("graph" in attribute) return { type: 5, g: toGraph(attribute.graph) };
  if ("floats" in attribute) return { type: 6, floats: attribute.floats };
  if ("ints" in attribute) return { type: 7, ints: attribute.ints };
  return { type: 8, strings: attribute.strings.map((text) => Buffer.from(text)) };
}

function toTensor(tensor: OnnxTensor): object {
  const { name, datatype, shape, data } = tensor;
  if (data.length !== elementCount(shape)) {
    throw new RangeError(`constant ${name}: ${data.length} elements do not fill the shape [${shape.join(", ")}]`);
  }
  const header = { name, dims: shape, data_type: ELEMENT_TYPES[datatype] };
  if (datatype === "BYTES") return { ...header, string_data: Array.from(data, (text) => Buffer.from(String(text))) };
  const elements = toTypedArray(datatype, data);
  return { ...header, raw_data: new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength) };
}

const TYPED_ARRAYS = {
  BOOL: Uint8Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  FP16: Float16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

/** Typed arrays are in the host's byte order; ONNX wants little-endian, which is every platform Node has a build for here. */
function toTypedArray(datatype: Exclude<Datatype, "BYTES">, data: OnnxTensor["data"]): NodeJS.TypedArray {
  if (datatype === "INT64") return data instanceof BigInt64Array ? data : BigInt64Array.from(Array.from(data, BigInt));
  if (datatype === "UINT64") {
    return data instanceof BigUint64Array ? data : BigUint64Array.from(Array.from(data, BigInt));
  }
  if (datatype === "BF16") return Uint16Array.from(Array.from(data, Number), toBfloat16);
  const kind = TYPED_ARRAYS[datatype];
  return data instanceof kind ? data : kind.from(Array.from(data, Number));
}

/** The upper half of the FP32 bits, rounded to nearest, ties to even. */
function toBfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
