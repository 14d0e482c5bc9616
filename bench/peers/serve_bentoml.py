"""BentoML: one service, its calls batched adaptively."""

import bentoml
import numpy

from onnx_rows import BATCH_ROWS_MAX, WORKERS, OnnxRows


@bentoml.service(
    workers=WORKERS,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Rows:
    def __init__(self):
        self._model = OnnxRows()

    @bentoml.api(route="/inference", batchable=True, max_batch_size=BATCH_ROWS_MAX, max_latency_ms=60_000)
    def inference(self, rows: numpy.ndarray) -> numpy.ndarray:
        return self._model.run_array(rows)
