"""LitServe: FastAPI in front, the model in a process of its own, ZeroMQ between them (fast_queue)."""

import litserve

from onnx_rows import BATCH_ROWS_MAX, PORT, WORKERS, OnnxRows


class Rows(litserve.LitAPI):
    def setup(self, device):
        self._model = OnnxRows()

    def decode_request(self, request):
        return request["data"]

    def batch(self, inputs):
        return inputs

    def predict(self, rows):
        return self._model.run(rows)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"data": output}


if __name__ == "__main__":
    api = Rows(max_batch_size=BATCH_ROWS_MAX, batch_timeout=0.001, api_path="/inference")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=True, timeout=60)
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=WORKERS,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
