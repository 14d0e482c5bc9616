"""Ray Serve: a proxy, and a replica that batches."""

import os
import time

import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from onnx_rows import BATCH_ROWS_MAX, PORT, WORKERS, OnnxRows


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0.1})
class Rows:
    def __init__(self):
        self._model = OnnxRows()

    @serve.batch(max_batch_size=BATCH_ROWS_MAX, batch_wait_timeout_s=0.001)
    async def run(self, rows):
        return self._model.run(rows)

    async def __call__(self, request: Request):
        row = orjson.loads(await request.body())["data"]
        return Response(orjson.dumps({"data": await self.run(row)}), media_type="application/json")


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        _temp_dir=os.environ["RAY_FOLDER"],
        logging_level="warning",
        runtime_env={"env_vars": {"PYTHONPATH": os.path.dirname(__file__)}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Rows.bind(), route_prefix="/inference", logging_config={"enable_access_log": False})
    while True:
        time.sleep(3600)
