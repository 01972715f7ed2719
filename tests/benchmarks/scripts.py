"""Scripts that people write instead: a loop, the same in a thread pool, and one on asyncio, each a program.

    python tests/benchmarks/scripts.py sequential|pool|asyncio URL BUCKET COUNT WORKERS

GET a WAV, hash it by SHA-256, PUT it, PUT a sidecar with the hash. Nothing is listed: the names are known.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from hosts import ACCOUNT, MEDIA, ids

TOKEN = "0123456789abcdef"


def sidecar_of(recording_id: str, sha256: str, size: int) -> bytes:
    return json.dumps({"recording_id": recording_id, "sha256": sha256, "bytes": size}).encode()


def threaded(url: str, bucket: str, names: list[str], workers: int) -> None:
    import boto3
    import requests
    from botocore.config import Config

    settings = Config(
        max_pool_connections=4 * workers,
        request_checksum_calculation="when_required",
        s3={"addressing_style": "path"},
    )
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=settings)
    local = threading.local()

    def one(recording_id: str) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.auth = (ACCOUNT, TOKEN)
        body, digest = io.BytesIO(), hashlib.sha256()
        with local.session.get(f"{url}{MEDIA}/{recording_id}.wav", stream=True, timeout=60) as response:
            response.raise_for_status()
            for chunk in response.iter_content(65536):
                body.write(chunk)
                digest.update(chunk)
        sidecar = sidecar_of(recording_id, digest.hexdigest(), body.tell())
        extra = {"Metadata": {"sha256": digest.hexdigest()}}
        body.seek(0)
        client.upload_fileobj(body, bucket, f"recordings/{recording_id}.wav", ExtraArgs=extra)
        client.upload_fileobj(io.BytesIO(sidecar), bucket, f"recordings/{recording_id}.json", ExtraArgs=extra)

    if workers == 1:
        for name in names:
            one(name)
        return
    with ThreadPoolExecutor(workers) as threads:
        for _ in threads.map(one, names):
            pass


async def on_a_loop(url: str, bucket: str, names: list[str], workers: int) -> None:
    import aiohttp
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    settings = AioConfig(
        max_pool_connections=workers, request_checksum_calculation="when_required", s3={"addressing_style": "path"}
    )
    left = iter(names)
    auth, connector = aiohttp.BasicAuth(ACCOUNT, TOKEN), aiohttp.TCPConnector(limit=workers)
    made = get_session().create_client("s3", endpoint_url=url, region_name="us-east-1", config=settings)
    async with aiohttp.ClientSession(auth=auth, connector=connector) as session, made as client:

        async def work() -> None:
            for recording_id in left:
                body, digest = bytearray(), hashlib.sha256()
                async with session.get(f"{url}{MEDIA}/{recording_id}.wav") as response:
                    response.raise_for_status()
                    async for chunk in response.content.iter_chunked(65536):
                        body += chunk
                        digest.update(chunk)
                sidecar = sidecar_of(recording_id, digest.hexdigest(), len(body))
                metadata = {"sha256": digest.hexdigest()}
                key = f"recordings/{recording_id}"
                await client.put_object(Bucket=bucket, Key=f"{key}.wav", Body=bytes(body), Metadata=metadata)
                await client.put_object(Bucket=bucket, Key=f"{key}.json", Body=sidecar, Metadata=metadata)

        await asyncio.gather(*(work() for _ in range(workers)))


if __name__ == "__main__":
    kind, url, bucket, count, workers = sys.argv[1:]
    names = ids(int(count))
    if kind == "asyncio":
        asyncio.run(on_a_loop(url, bucket, names, int(workers)))
    else:
        threaded(url, bucket, names, 1 if kind == "sequential" else int(workers))
