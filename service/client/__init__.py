"""A client of the service for Python programs; docs/python-client.md shows every call.

    with Client("http://127.0.0.1:8000") as client:
        frame = client.estimate("picture.jpg")
        job = client.wait(client.upload_video("dance.mp4").id)
        client.download_video(job.id, "dance_poses.mp4")
        with client.stream(resolution="fast") as stream:
            result = stream.estimate(jpeg)

It needs the base packages only (httpx, pydantic, websockets), not those of the server.
"""

from service.client.client import Client
from service.client.errors import ClientError, PictureError, StreamClosed, StreamTimeout

__all__ = ["Client", "ClientError", "PictureError", "StreamClosed", "StreamTimeout"]
