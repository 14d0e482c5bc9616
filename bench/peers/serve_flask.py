"""Flask behind gunicorn: each request runs the model by itself."""

import orjson
from flask import Flask, Response, request

from onnx_rows import OnnxRows

app = Flask(__name__)
model = OnnxRows()


@app.post("/inference")
def inference():
    row = orjson.loads(request.get_data(cache=False))["data"]
    return Response(orjson.dumps({"data": model.run(row)[0]}), mimetype="application/json")
