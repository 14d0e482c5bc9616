"""Every call of tritonclient's HTTP client, sync or aio, against a live gateway, with what has to come of it.

Usage: python tritonclient_suite.py URL sync|aio, with the models of conformance-models.ts. Prints a line for each call and its
result; the last line is `tritonclient KIND: N passed, N failed`.
"""

import asyncio
import http.client
import json
import sys
import time

import ml_dtypes
import numpy as np
import tritonclient.http as sync
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

URL, KIND = sys.argv[1].removeprefix("http://"), sys.argv[2]


class Aio:
    """The aio client with the face of the sync one, so that both are held to the same cases."""

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()

        async def connect():
            return aio.InferenceServerClient(url)

        self.client = self.loop.run_until_complete(connect())

    def __getattr__(self, name):
        method = getattr(self.client, name)
        return lambda *args, **named: self.loop.run_until_complete(method(*args, **named))


client = sync.InferenceServerClient(URL, concurrency=8) if KIND == "sync" else Aio(URL)
counts = {"passed": 0, "failed": 0}


def case(call, outcome):
    """Runs a case; what it returns is shown as the result, what it raises is its failure."""
    try:
        result, mark = outcome(), "ok"
        counts["passed"] += 1
    except Exception as error:  # pylint: disable=broad-except
        result, mark = f"{type(error).__name__}: {error}", "FAILED"
        counts["failed"] += 1
    print(f"{mark:6}  {call:62} → {str(result)[:400]}", flush=True)


def same(given, wanted):
    assert given == wanted, f"{given!r} is not {wanted!r}"
    return given


def holds(given, wanted):
    """Whether the dictionary has these entries, among others."""
    same({key: given.get(key) for key in wanted}, wanted)
    return json.dumps(wanted)


def refused(status, text, call):
    """Whether the call raises the client's exception with this status and a message that has this text."""
    try:
        given = call()
    except InferenceServerException as error:
        same(error.status(), str(status) if status else None)
        assert text in error.message(), f"{error.message()!r} does not say {text!r}"
        return f"{error.status()} {error.message()}"
    raise AssertionError(f"not refused: {given!r}")


def tensor(name, datatype, values, binary=True):
    values = np.asarray(values)
    made = sync.InferInput(name, list(values.shape), datatype)
    return made.set_data_from_numpy(values, binary_data=binary)


def digits(rows=1, columns=64, binary=True):
    values = (np.arange(rows * columns) % 17).astype(np.float32).reshape(rows, columns)
    return [tensor("image", "FP32", values, binary)]


def wanted(name, binary=True, classes=0):
    return sync.InferRequestedOutput(name, binary_data=binary, class_count=classes)


def identical(given, values):
    """Equal to the bit, the sign of zero included."""
    assert given is not None, "no such output"
    same(given.shape, values.shape)
    if values.dtype == np.object_:
        # JSON gives texts, bytes come as bytes.
        flat = [item.encode() if isinstance(item, str) else item for item in given.ravel()]
        same(flat, list(values.ravel()))
    else:
        same(given.dtype, values.dtype)
        assert given.tobytes() == values.tobytes(), f"{given} is not {values}"


# --- health, metadata, config, statistics, repository ---------------------------------------------------------------

case("is_server_live", lambda: same(client.is_server_live(), True))
case("is_server_ready", lambda: same(client.is_server_ready(), True))
case("is_model_ready digits", lambda: same(client.is_model_ready("digits"), True))
case("is_model_ready digits 1", lambda: same(client.is_model_ready("digits", "1"), True))
case("is_model_ready unknown", lambda: same(client.is_model_ready("unknown"), False))
case("is_model_ready digits 9", lambda: same(client.is_model_ready("digits", "9"), False))

EXTENSIONS = {"binary_tensor_data", "classification", "model_configuration", "statistics"}


def server_metadata():
    metadata = client.get_server_metadata()
    same(metadata["name"], "millrace")
    assert EXTENSIONS <= set(metadata["extensions"]), metadata
    return metadata


case("get_server_metadata", server_metadata)
IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 64]}
for version in ["", "1"]:
    case(
        f"get_model_metadata digits {version}",
        lambda: holds(client.get_model_metadata("digits", version), {"name": "digits", "versions": ["1"], "inputs": [IMAGE]}),
    )
    case(
        f"get_model_config digits {version}",
        lambda: holds(
            client.get_model_config("digits", version),
            {
                "name": "digits",
                "platform": "onnxruntime_onnx",
                "max_batch_size": 64,
                "input": [{"name": "image", "data_type": "TYPE_FP32", "dims": [64]}],
            },
        ),
    )
    case(
        f"get_inference_statistics digits {version}",
        lambda: holds(client.get_inference_statistics("digits", version)["model_stats"][0], {"name": "digits", "version": "1"}),
    )


def every_model_has_statistics():
    names = {model["name"] for model in client.get_inference_statistics()["model_stats"]}
    index = {model["name"] for model in client.get_model_repository_index()}
    same(names, index)
    return f"{len(names)} models"


case("get_inference_statistics", every_model_has_statistics)


def statistics_count():
    """Requests and rows are counted; the broker tells gateways of them a moment later."""
    def counted():
        stats = client.get_inference_statistics("digits")["model_stats"][0]
        return stats["inference_count"], stats["inference_stats"]["success"]["count"]

    rows, requests = counted()
    client.infer("digits", digits(3))
    client.infer("digits", digits(2))
    until = time.monotonic() + 10
    while counted() != (rows + 5, requests + 2):
        assert time.monotonic() < until, f"{counted()}, was {(rows, requests)}"
        time.sleep(0.05)
    return "2 requests, 5 rows"


case("get_inference_statistics after 2 infer", statistics_count)


def repository():
    index = client.get_model_repository_index()
    assert all(model["state"] == "READY" for model in index), index
    assert {"digits", "slow", "echo_mixed"} <= {model["name"] for model in index}, index
    return f"{len(index)} READY"


case("get_model_repository_index", repository)
for call in [
    lambda: client.get_model_metadata("unknown"),
    lambda: client.get_model_config("unknown"),
    lambda: client.get_inference_statistics("unknown"),
    lambda: client.infer("unknown", digits()),
]:
    case("… of an unknown model", lambda: refused(404, 'no model "unknown"', call))
case("infer of an unknown version", lambda: refused(404, "9", lambda: client.infer("digits", digits(), model_version="9")))
case("infer of a model with a space in its name", lambda: refused(404, '"a model"', lambda: client.infer("a model", digits())))

# --- what is not there is refused by name ---------------------------------------------------------------------------

HANDLE = b"0" * 64
for name, text, call in [
    ("load_model", "loading models", lambda: client.load_model("digits")),
    ("unload_model", "unloading models", lambda: client.unload_model("digits")),
    ("update_trace_settings", "trace", lambda: client.update_trace_settings(settings={"trace_rate": "1"})),
    ("get_trace_settings", "trace", lambda: client.get_trace_settings()),
    ("get_trace_settings digits", "trace", lambda: client.get_trace_settings("digits")),
    ("update_log_settings", "logging", lambda: client.update_log_settings({"log_info": True})),
    ("get_log_settings", "logging", lambda: client.get_log_settings()),
    ("get_system_shared_memory_status", "system shared memory", lambda: client.get_system_shared_memory_status()),
    ("register_system_shared_memory", "system shared memory", lambda: client.register_system_shared_memory("r", "/r", 8)),
    ("unregister_system_shared_memory", "system shared memory", lambda: client.unregister_system_shared_memory("r")),
    ("get_cuda_shared_memory_status", "CUDA shared memory", lambda: client.get_cuda_shared_memory_status()),
    ("register_cuda_shared_memory", "CUDA shared memory", lambda: client.register_cuda_shared_memory("r", HANDLE, 0, 8)),
    ("unregister_cuda_shared_memory", "CUDA shared memory", lambda: client.unregister_cuda_shared_memory("r")),
    ("infer sequence_id=1", "sequence_id", lambda: client.infer("digits", digits(), sequence_id=1, sequence_start=True)),
    ("infer parameters={a: 1}", '"a"', lambda: client.infer("digits", digits(), parameters={"a": 1})),
]:
    case(name, lambda: refused(501, text, call))


def in_shared_memory():
    given = sync.InferInput("image", [1, 64], "FP32")
    given.set_shared_memory("r", 256)
    return client.infer("digits", [given])


case("infer with shared memory", lambda: refused(501, "shared_memory_region", in_shared_memory))

# --- inference: forms -----------------------------------------------------------------------------------------------


def of_digits(result, rows):
    same(result.get_response()["model_name"], "digits")
    same(result.get_response()["model_version"], "1")
    same(result.as_numpy("label").shape, (rows,))
    probabilities = result.as_numpy("probabilities")
    same(probabilities.shape, (rows, 10))
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4), probabilities
    return f"label {result.as_numpy('label').tolist()}"


case("infer digits", lambda: of_digits(client.infer("digits", digits()), 1))
case("infer digits, 4 rows", lambda: of_digits(client.infer("digits", digits(4)), 4))
case("infer digits, 100 rows (in parts)", lambda: of_digits(client.infer("digits", digits(100)), 100)[:30])
case("infer digits 1", lambda: of_digits(client.infer("digits", digits(), model_version="1"), 1))
case("infer digits, JSON in", lambda: of_digits(client.infer("digits", digits(2, binary=False)), 2))
case("infer request_id", lambda: same(client.infer("digits", digits(), request_id="a b").get_response()["id"], "a b"))
case("infer without request_id", lambda: same(client.infer("digits", digits()).get_response().get("id"), None))
case("infer priority=1", lambda: of_digits(client.infer("digits", digits(), priority=1), 1))
case("infer query_params", lambda: of_digits(client.infer("digits", digits(), query_params={"a": "b"}), 1))


def chosen(*outputs):
    result = client.infer("digits", digits(), outputs=list(outputs))
    return ", ".join(
        f"{output['name']}{' binary' if 'parameters' in output else ' JSON'}" for output in result.get_response()["outputs"]
    )


case(
    "infer outputs in another order, one binary",
    lambda: same(chosen(wanted("probabilities"), wanted("label", binary=False)), "probabilities binary, label JSON"),
)
case("infer one output", lambda: same(chosen(wanted("label")), "label binary"))


def classified(binary):
    plain = client.infer("digits", digits(2)).as_numpy("probabilities")
    outputs = [wanted("probabilities", binary, classes=3)]
    given = client.infer("digits", digits(2), outputs=outputs).as_numpy("probabilities")
    same(given.shape, (2, 3))
    for row, texts in zip(plain, given):
        for at, text in zip(np.argsort(-row, kind="stable"), texts):
            value, index = (text if isinstance(text, str) else text.decode()).split(":")
            same(int(index), int(at))
            assert abs(float(value) - row[at]) < 1e-5, (value, row[at])
    return [text if isinstance(text, str) else text.decode() for text in given[0]]


case("infer class_count=3, binary", lambda: classified(True))
case("infer class_count=3, JSON", lambda: classified(False))


def raw(path, body, headers):
    connection = http.client.HTTPConnection(URL)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read()


KINDS_CLIENT = sync.InferenceServerClient if KIND == "sync" else aio.InferenceServerClient
HEADER = "Inference-Header-Content-Length"


def by_hand(coding):
    body, header = KINDS_CLIENT.generate_request_body(digits(40))
    answer, content = raw("/v2/models/digits/infer", body, {HEADER: header, "Accept-Encoding": coding or "identity"})
    same((answer.status, answer.getheader("content-encoding")), (200, coding))
    length = int(answer.getheader(HEADER))
    same(length % 8 if coding is None else 0, 0)
    result = KINDS_CLIENT.parse_response_body(content, header_length=length, content_encoding=coding)
    of_digits(result, 40)
    return f"{len(content)} bytes"


for coding in [None, "gzip", "deflate"]:
    case(f"generate_request_body, parse_response_body, {coding}", lambda: by_hand(coding))


def without_json():
    answer, content = raw("/v2/models/digits/infer", digits()[0]._get_binary_data(), {HEADER: "0"})
    same(answer.status, 200)
    return of_digits(KINDS_CLIENT.parse_response_body(content, header_length=int(answer.getheader(HEADER))), 1)


case("a body without JSON", without_json)

# --- datatypes ------------------------------------------------------------------------------------------------------

NAN, INFINITY = float("nan"), float("inf")
NUMBERS = {
    "BOOL": (np.bool_, [True, False], []),
    "INT8": (np.int8, [-128, 0, 127], []),
    "INT16": (np.int16, [-32768, 0, 32767], []),
    "INT32": (np.int32, [-(2**31), 0, 2**31 - 1], []),
    "INT64": (np.int64, [-(2**63), -(2**53) - 1, 2**53 + 1, 2**63 - 1], []),
    "UINT8": (np.uint8, [0, 255], []),
    "UINT16": (np.uint16, [0, 65535], []),
    "UINT32": (np.uint32, [0, 2**32 - 1], []),
    "UINT64": (np.uint64, [0, 2**53 + 1, 2**64 - 1], []),
    "FP16": (np.float16, [65504, -0.0, 6e-8, 0.1], [NAN, INFINITY, -INFINITY]),
    "FP32": (np.float32, [3.4028235e38, 1e-45, -0.0, 0.1], [NAN, INFINITY, -INFINITY]),
    "FP64": (np.float64, [1.7976931348623157e308, 5e-324, -0.0, 0.1], [NAN, INFINITY, -INFINITY]),
    # What onnxruntime for Node cannot carry is below.
    "BYTES": (np.object_, [b"", b"\t\n\"", "größer 🦀".encode()], []),
}
CODINGS = [None, "gzip", "deflate"]


def echoed(model, values, datatype, binary_in, binary_out, codings=(None, None)):
    result = client.infer(
        model,
        [tensor("in", datatype, values, binary_in)],
        outputs=[wanted("out", binary_out)],
        request_compression_algorithm=codings[0],
        response_compression_algorithm=codings[1],
    )
    identical(result.as_numpy("out"), values)


def round_trips(datatype, values, binary_in, binary_out):
    tried = 0
    # Small ones, and of more than the 1 KiB from which answers are compressed.
    for rows in [1, 300]:
        for codings in [(sent, asked) for sent in CODINGS for asked in CODINGS]:
            echoed(f"echo_{datatype.lower()}", np.tile(values, (rows, 1)), datatype, binary_in, binary_out, codings)
            tried += 1
    return f"{tried} answers equal to the bit"


for datatype, (dtype, plain, special) in NUMBERS.items():
    every, json_only = np.array([plain + special], dtype), np.array([plain], dtype)
    case(f"infer {datatype} binary → binary, coded both ways", lambda: round_trips(datatype, every, True, True))
    if datatype == "FP16":
        for form, binary_in, binary_out in [("JSON in", False, True), ("JSON out", True, False)]:
            call = lambda: echoed("echo_fp16", json_only, "FP16", binary_in, binary_out)
            case(f"infer FP16 {form}", lambda: refused(400, "FP16", call))
    else:
        for binary_in, binary_out in [(False, False), (False, True), (True, False)]:
            form = f"{'binary' if binary_in else 'JSON'} → {'binary' if binary_out else 'JSON'}"
            case(f"infer {datatype} {form}, coded both ways", lambda: round_trips(datatype, json_only, binary_in, binary_out))
    for shape in [(1, 0), (3, 0)]:
        empty = np.zeros(shape, dtype)
        case(f"infer {datatype} empty {shape} binary", lambda: echoed(f"echo_{datatype.lower()}", empty, datatype, True, True) or "empty")
    if datatype in ("FP32", "FP64"):
        model = f"echo_{datatype.lower()}"
        for value in special:
            values = np.array([[value]], dtype)
            case(f"infer {datatype} {value} JSON out", lambda: refused(500, "JSON", lambda: echoed(model, values, datatype, True, False)))
for values in [b"a\0", b"\xff\xfe\x80"]:
    given = np.array([[values]], np.object_)
    case(f"infer BYTES {values}", lambda: refused(400, "UTF-8 texts without zero bytes", lambda: echoed("echo_bytes", given, "BYTES", True, True)))
BF16 = np.zeros((1, 64), ml_dtypes.bfloat16)
case("infer BF16", lambda: refused(400, "BF16", lambda: client.infer("digits", [tensor("image", "BF16", BF16)])))


def mixed():
    """Three inputs and outputs, each in JSON or as bytes, in every combination."""
    number = np.array([[0.5, NAN]], np.float32)
    integer = np.array([[2**53 + 1]], np.int64)
    text = np.array([["ä".encode(), b""]], np.object_)
    given = {"number": ("FP32", number), "integer": ("INT64", integer), "text": ("BYTES", text)}
    tried = 0
    for form in range(16):
        # NaN is no JSON.
        bits = {"number": True, "integer": bool(form & 1), "text": bool(form & 2)}
        outs = {"number": True, "integer": bool(form & 4), "text": bool(form & 8)}
        inputs = [tensor(f"in_{name}", *given[name], bits[name]) for name in given]
        result = client.infer("echo_mixed", inputs, outputs=[wanted(f"out_{name}", outs[name]) for name in given])
        for name, (_, values) in given.items():
            identical(result.as_numpy(f"out_{name}"), values)
        tried += 1
    return f"{tried} answers equal to the bit"


case("infer 3 inputs and outputs, mixed forms", mixed)

# --- errors ---------------------------------------------------------------------------------------------------------

for name, status, text, call in [
    ("of a wrong shape", 400, "[1,63]", lambda: client.infer("digits", digits(columns=63))),
    ("of a wrong datatype", 400, "FP64", lambda: client.infer("digits", [tensor("image", "FP64", np.zeros((1, 64)))])),
    ("of an unknown input", 400, '"other"', lambda: client.infer("digits", [tensor("other", "FP32", np.zeros((1, 64), np.float32))])),
    ("without an input", 400, "input", lambda: client.infer("digits", [])),
    ("of an input given twice", 400, "image", lambda: client.infer("digits", digits() + digits())),
    ("of an unknown output", 400, '"other"', lambda: client.infer("digits", digits(), outputs=[wanted("other")])),
    ("of too many rows", 400, "rows", lambda: client.infer("digits", digits(2000))),
    ("with parameters={triton_a: 1}", None, "triton_", lambda: client.infer("digits", digits(), parameters={"triton_a": 1})),
]:
    case(f"infer {name}", lambda: refused(status, text, call))


def slow(**named):
    return client.infer("slow", [tensor("x", "FP32", np.zeros((1, 2), np.float32))], **named)


case("infer slow", lambda: same(slow().as_numpy("y").shape, (1, 2)))


def too_late(**named):
    """Refused at once, since the time cannot be met, or when it has passed."""
    try:
        slow(**named)
    except InferenceServerException as error:
        assert error.status() in ("429", "504"), error
        return f"{error.status()} {error.message()}"
    raise AssertionError("answered")


case("infer timeout=50000 (µs) of a run of 300 ms", lambda: too_late(timeout=50_000))
case("infer x-request-timeout-ms 50 of a run of 300 ms", lambda: too_late(headers={"x-request-timeout-ms": "50"}))


def lengths_off():
    body, header = KINDS_CLIENT.generate_request_body(digits())
    said = []
    for length in [header - 1, header + 1, len(body) + 1, -1, "a"]:
        answer, content = raw("/v2/models/digits/infer", body, {HEADER: length})
        same(answer.status, 400)
        said.append(json.loads(content)["error"])
    return said[0]


case("infer with the length of the header off by one", lengths_off)

# --- many at a time -------------------------------------------------------------------------------------------------


def all_at_once():
    """Each answer is that of its own request."""
    given = [np.full((1, 5), at, np.int64) for at in range(200)]
    if KIND == "sync":
        waiting = [client.async_infer("echo_int64", [tensor("in", "INT64", values)]) for values in given]
        results = [request.get_result() for request in waiting]
    else:

        async def gather():
            calls = [client.client.infer("echo_int64", [tensor("in", "INT64", values)]) for values in given]
            return await asyncio.gather(*calls)

        results = client.loop.run_until_complete(gather())
    for values, result in zip(given, results):
        identical(result.as_numpy("out"), values)
    return f"{len(results)} answers"


case("async_infer" if KIND == "sync" else "infer, gathered", all_at_once)
if KIND == "sync":
    case(
        "async_infer of an unknown model",
        lambda: refused(404, 'no model "unknown"', lambda: client.async_infer("unknown", digits()).get_result()),
    )

client.close()
print(f"tritonclient {KIND}: {counts['passed']} passed, {counts['failed']} failed")
sys.exit(0 if counts["failed"] == 0 else 1)
