"""The model that every Python peer serves: onnxruntime with one thread, FP32 rows in, FP32 rows out."""

import os

import numpy
import onnxruntime

MODEL_FILE = os.environ["MODEL_FILE"]
PORT = int(os.environ["PORT"])
WORKERS = int(os.environ.get("WORKERS", "1"))
BATCH_ROWS_MAX = int(os.environ["BATCH_ROWS_MAX"])


class OnnxRows:
    """One session. Rows come as lists of numbers and leave so; several outputs of a row follow one another."""

    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(MODEL_FILE, options, providers=["CPUExecutionProvider"])
        [source] = self._session.get_inputs()
        self._source = source.name
        self._targets = [target.name for target in self._session.get_outputs()]
        self._shape = (-1, *source.shape[1:])

    def run_array(self, rows):
        rows = numpy.asarray(rows, dtype=numpy.float32).reshape(self._shape)
        outputs = self._session.run(self._targets, {self._source: rows})
        if len(outputs) == 1:
            return outputs[0]
        return numpy.concatenate([output.reshape(len(rows), -1) for output in outputs], axis=1)

    def run(self, rows):
        return self.run_array(rows).tolist()
