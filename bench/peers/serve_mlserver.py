"""MLServer: a runtime of our own, as it has none for ONNX, with its adaptive batching."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from onnx_rows import OnnxRows


class Rows(MLModel):
    async def load(self):
        self._model = OnnxRows()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("output", self._model.run_array(rows))
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
