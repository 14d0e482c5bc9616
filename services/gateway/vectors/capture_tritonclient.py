"""
Records what the Python client of Triton sends over HTTP: each request is answered with 200 and a canned body, and kept as bytes.

    pip install 'tritonclient[http]==2.73.0' ml_dtypes
    python services/gateway/vectors/capture_tritonclient.py > services/gateway/vectors/tritonclient.json
"""
import json
import socket
import threading

import ml_dtypes
import numpy as np
import tritonclient.http as http

captures = []
current = {}

def serve(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(connection,), daemon=True).start()

def one(connection):
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            rest += connection.recv(65536)
        body, data = rest[:length], rest[length:]
        request, *lines = head.decode("latin1").split("\r\n")
        method, target, _ = request.split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        del headers["host"]
        captures.append({"name": current["name"], "method": method, "path": target, "headers": headers, "body": body.hex()})
        answer = current["answer"]
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
client = http.InferenceServerClient("127.0.0.1:%d" % listener.getsockname()[1])

def call(name, action, answer=b"{}"):
    current.update(name=name, answer=answer)
    action()

OUTPUTS = b'{"model_name":"all","model_version":"1","outputs":[]}'
TYPES = {
    "BOOL": np.array([[True, False]]), "INT8": np.array([[1, -1]], np.int8), "INT16": np.array([[1, -1]], np.int16),
    "INT32": np.array([[1, -1]], np.int32), "INT64": np.array([[2**53 + 1, -1]], np.int64), "UINT8": np.array([[1, 255]], np.uint8),
    "UINT16": np.array([[1, 65535]], np.uint16), "UINT32": np.array([[1, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[1, 2**64 - 1]], np.uint64), "FP16": np.array([[1, -2]], np.float16), "FP32": np.array([[0.5, -2]], np.float32),
    "FP64": np.array([[0.1, -2]], np.float64), "BYTES": np.array([[b"\xff\x00", b""]], np.object_),
    "BF16": np.array([[1, -2]], ml_dtypes.bfloat16),
}

def tensor(name, datatype, binary=True):
    one = http.InferInput(name, [1, 2], datatype)
    value = TYPES[datatype]
    one.set_data_from_numpy(value, binary_data=binary)
    return one

call("is_server_live", client.is_server_live)
call("is_server_ready", client.is_server_ready)
call("is_model_ready", lambda: client.is_model_ready("a model", "1"))
call("get_server_metadata", client.get_server_metadata)
call("get_model_metadata", lambda: client.get_model_metadata("all"))
call("get_model_config", lambda: client.get_model_config("all", "1"))
call("get_model_repository_index", client.get_model_repository_index, b"[]")
call("load_model", lambda: client.load_model("all"))
call("unload_model", lambda: client.unload_model("all"))
call("get_inference_statistics", lambda: client.get_inference_statistics())
call("get_inference_statistics of a model", lambda: client.get_inference_statistics("all", "1"))
for datatype in TYPES:
    call("infer %s as bytes" % datatype, lambda: client.infer("all", [tensor(datatype, datatype)]), OUTPUTS)
text = np.array([["é", "\u4e2d"]], np.object_)
def texts():
    one = http.InferInput("BYTES", [1, 2], "BYTES")
    one.set_data_from_numpy(text, binary_data=False)
    return one
for datatype in TYPES:
    if datatype in ("FP16", "BF16"):
        continue
    call("infer %s as JSON" % datatype, lambda: client.infer("all", [texts() if datatype == "BYTES" else tensor(datatype, datatype, False)],
        outputs=[http.InferRequestedOutput(datatype + "_out", binary_data=False)]), OUTPUTS)
two = lambda: [tensor("FP32", "FP32"), tensor("INT64", "INT64", False), tensor("UINT8", "UINT8")]
call("infer mixed", lambda: client.infer("all", two(), model_version="1", request_id="7", priority=1, timeout=5_000_000,
    outputs=[http.InferRequestedOutput("FP32_out", binary_data=True), http.InferRequestedOutput("INT64_out", binary_data=False),
             http.InferRequestedOutput("UINT8_out", binary_data=False, class_count=2)]), OUTPUTS)
call("infer in gzip", lambda: client.infer("all", two(), request_compression_algorithm="gzip", response_compression_algorithm="gzip"), OUTPUTS)
call("infer in deflate", lambda: client.infer("all", two(), request_compression_algorithm="deflate", response_compression_algorithm="deflate"), OUTPUTS)
call("infer with a sequence", lambda: client.infer("all", [tensor("FP32", "FP32")], sequence_id=5, sequence_start=True), OUTPUTS)
listener.close()
print("[\n" + ",\n".join("  " + json.dumps(capture) for capture in captures) + "\n]")
