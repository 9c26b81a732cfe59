"""A client of the service for Python programs.

    with Client("http://127.0.0.1:8000") as client:
        frame = client.estimate("picture.jpg")
        job = client.wait(client.upload_video("dance.mp4").id)
        client.download_video(job.id, "dance_poses.mp4")

It needs the base packages only (httpx, pydantic), not those of the server.
"""

from service.client.client import Client
from service.client.errors import ClientError

__all__ = ["Client", "ClientError"]
