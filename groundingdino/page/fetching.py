"""Pictures that programs and agents name by an address: fetched from public servers only, and no more than is allowed.

Gradio would fetch them too, and from public servers only, but into memory and however large they are.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import httpx

from groundingdino.page.files import write_file

SECONDS = 20.0  # that a picture may take to come
REDIRECTS = 5
NOT_FETCHED = "This server fetches no pictures: send it as an uploaded file, or as a data URL."


def is_address(value: Any) -> bool:
    """Whether an input is a file that is named by its address."""
    path = value.get("path") if isinstance(value, dict) else None
    return isinstance(path, str) and path.lower().startswith(("http://", "https://"))


async def with_fetched(inputs: Sequence[Any], most: int | None) -> list[Any]:
    """The inputs of an endpoint with the pictures that were named by their address as files of the server.

    Args:
        most: Bytes that each may have; None: none is fetched.

    Raises:
        ValueError: one sentence: it cannot be fetched, or not from there, or is too large.
    """
    ready = []
    for value in inputs:
        if is_address(value):
            if most is None:
                raise ValueError(NOT_FETCHED)
            try:
                path = await asyncio.wait_for(_fetch(value["path"], most), SECONDS)
            except asyncio.TimeoutError as error:
                raise ValueError(f"The picture did not come within {SECONDS:.0f} seconds.") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ValueError("The picture cannot be fetched from its address.") from error
            value = {"path": path, "meta": {"_type": "gradio.FileData"}}
        elif _has_address(value):  # in a list, which no endpoint takes: Gradio would fetch it
            raise ValueError("A picture is named where none belongs.")
        ready.append(value)
    return ready


def _has_address(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return is_address(value) or any(map(_has_address, parts))


async def _fetch(address: str, most: int) -> str:
    """Path of a file with what an address gives."""
    url = httpx.URL(address)
    async with httpx.AsyncClient(trust_env=False) as client:  # a proxy would look the name up again
        for _ in range(1 + REDIRECTS):
            # What was looked at is what is asked: a name could lead elsewhere the next time.
            place = url.copy_with(host=await _public_address(url))
            headers = {"Host": url.netloc.decode(), "Accept-Encoding": "identity"}
            asked = {"headers": headers, "extensions": {"sni_hostname": url.host}}
            async with client.stream("GET", place, **asked) as answer:  # type: ignore[arg-type]
                if answer.has_redirect_location:
                    url = url.join(answer.headers["Location"])
                    continue
                if answer.status_code != 200:
                    raise ValueError(f"The picture cannot be fetched: its server answers {answer.status_code}.")
                data = bytearray()
                async for part in answer.aiter_raw():
                    data += part
                    if len(data) > most:
                        raise ValueError(f"The picture is too large: more than {most / 1e6:g} MB; scale it down first.")
            return await asyncio.to_thread(write_file, bytes(data), PurePosixPath(url.path).name or "picture")
    raise ValueError("The picture cannot be fetched: its address leads from one to the next.")


async def _public_address(url: httpx.URL) -> str:
    """The number of a server that everybody can reach; others, as on the host's own network, are not asked."""
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("The picture cannot be fetched: its address is neither http nor https.")
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError("The picture cannot be fetched: there is no server of that name.") from error
    numbers = [str(address[4][0]) for address in found]
    if not numbers or not all(map(_is_public, numbers)):
        raise ValueError("The picture cannot be fetched: its server is not a public one.")
    return numbers[0]


def _is_public(number: str) -> bool:
    address = ipaddress.ip_address(number.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (mapped or address).is_global and not address.is_multicast
