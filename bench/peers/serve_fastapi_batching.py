"""FastAPI with batching made by hand: what waits while the model runs, in a thread of its own, runs together next."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import orjson
from fastapi import FastAPI, Request, Response

from onnx_rows import BATCH_ROWS_MAX, OnnxRows

model = OnnxRows()
waiting = asyncio.Queue()


async def run_batches():
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1) as thread:
        while True:
            batch = [await waiting.get()]
            while len(batch) < BATCH_ROWS_MAX and not waiting.empty():
                batch.append(waiting.get_nowait())
            try:
                answers = await loop.run_in_executor(thread, model.run, [row for row, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    answer.set_exception(error)
                continue
            for (_, answer), data in zip(batch, answers):
                answer.set_result(data)


@asynccontextmanager
async def lifespan(_app):
    task = asyncio.create_task(run_batches())
    yield
    task.cancel()


app = FastAPI(openapi_url=None, lifespan=lifespan)


@app.post("/inference")
async def inference(request: Request):
    answer = asyncio.get_running_loop().create_future()
    waiting.put_nowait((orjson.loads(await request.body())["data"], answer))
    return Response(orjson.dumps({"data": await answer}), media_type="application/json")
