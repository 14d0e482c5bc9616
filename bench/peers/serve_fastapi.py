"""FastAPI, plain: each request runs the model by itself, on the event loop."""

import orjson
from fastapi import FastAPI, Request, Response

from onnx_rows import OnnxRows

app = FastAPI(openapi_url=None)
model = OnnxRows()


@app.post("/inference")
async def inference(request: Request):
    row = orjson.loads(await request.body())["data"]
    return Response(orjson.dumps({"data": model.run(row)[0]}), media_type="application/json")
