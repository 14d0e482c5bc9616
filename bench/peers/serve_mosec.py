"""mosec: a Rust front, batches formed in it, Python workers behind it."""

import orjson
from mosec import Server, Worker

from onnx_rows import BATCH_ROWS_MAX, WORKERS, OnnxRows


class Rows(Worker):
    def __init__(self):
        super().__init__()
        self._model = OnnxRows()

    def deserialize(self, data):
        return orjson.loads(data)["data"]

    def serialize(self, data):
        return orjson.dumps({"data": data})

    def forward(self, data):
        return self._model.run(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Rows, num=WORKERS, max_batch_size=BATCH_ROWS_MAX, max_wait_time=1, timeout=30)
    server.run()
